// The whole result of a search as a file.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from '../core/api';
import { number } from '../core/format';
import { requestOf, type Search } from '../core/search';
import type { Record_ } from '../core/types';
import { Dialog } from '../parts/dialog';
import { Failure } from '../parts/parts';
import { MOST } from './records';

const COLUMNS = ['time', 'level', 'kind', 'workerId', 'invocationId', 'traceId', 'outcome', 'method', 'path', 'status', 'text'] as const;

export function ExportDialog({ search, close }: { search: Search; close(): void }) {
  const [got, setGot] = useState<number | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const save = async (form: 'jsonl' | 'csv'): Promise<void> => {
    const parts: string[] = form === 'csv' ? [`${COLUMNS.join(',')}\r\n`] : [];
    let count = 0;
    let cursor: string | null = '';
    setError(null);
    setGot(0);
    try {
      while (cursor !== null && count < MOST) {
        const page: { logs: Record_[]; nextCursor: string | null } = await get(`/v1/logs?${requestOf(search, { limit: '1000', ...(cursor ? { cursor } : {}) })}`, stop.current.signal);
        parts.push(page.logs.map(form === 'csv' ? csvLine : (record) => `${JSON.stringify(record)}\n`).join(''));
        count += page.logs.length;
        setGot(count);
        cursor = page.nextCursor;
      }
      download(new Blob(parts, { type: form === 'csv' ? 'text/csv' : 'application/x-ndjson' }), `logs.${form}`);
      close();
    } catch (problem) {
      if (!stop.current.signal.aborted) setError(problem as Error);
      setGot(null);
    }
  };
  return (
    <Dialog title="Export what the search finds" close={close}>
      <p>
        Newest first, {number(MOST)} records at most. The same from a shell: <code>otelbridge logs QUERY --since 1h</code>.
      </p>
      {error && <Failure error={error} />}
      {got === null ? (
        <p class="actions">
          <button class="primary" onClick={() => void save('jsonl')}>
            JSON lines
          </button>
          <button onClick={() => void save('csv')}>CSV</button>
        </p>
      ) : (
        <p role="status">{number(got)} records so far…</p>
      )}
    </Dialog>
  );
}

function csvLine(record: Record_): string {
  return `${COLUMNS.map((name) => csvCell(record[name])).join(',')}\r\n`;
}

/** A cell of RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe: a worker wrote it. */
export function csvCell(value: string | number | undefined): string {
  if (value === undefined) return '';
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function download(data: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(data);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
