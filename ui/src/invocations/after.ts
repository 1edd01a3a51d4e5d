// The bars of what became of an invocation's records after its end. Times in ms from there.
import { number, plural } from '../core/format';
import type { ExportPassage, TraceItem } from '../core/types';
import type { Bar } from './spans';

/** A bar, or a line that says why there is none. */
export type After = Bar | { key: string; name: string; words: string };

export function afterOf(item: TraceItem, now: number): { rows: After[]; total: number } | null {
  const ended = item.timing?.endTimeUnixNano;
  if (!item.tail || !item.exports || ended === undefined) return null;
  const from = (nanos: string): number => Math.max(0, Number(BigInt(nanos) - BigInt(ended)) / 1e6);
  const { spooledTimeUnixNano, storedTimeUnixNano, calls = [] } = item.tail;
  const spooled = spooledTimeUnixNano === undefined ? null : from(spooledTimeUnixNano);
  const rows: After[] = [];
  rows.push(
    spooled === null
      ? { key: 'tail', name: 'tail', words: FORGOTTEN }
      : { key: 'tail', name: 'tail', kind: 'tail', depth: 0, start: 0, end: spooled, note: 'its record is in the spool' },
  );
  for (const [n, call] of calls.entries())
    rows.push({
      key: `call${n}`,
      name: `tail: ${call.name}`,
      kind: 'tail',
      depth: 1,
      start: from(call.startTimeUnixNano),
      end: call.endTimeUnixNano === undefined ? null : from(call.endTimeUnixNano),
      open: 'still runs',
      failed: call.error !== undefined,
      note: call.error,
    });
  rows.push(
    spooled === null || storedTimeUnixNano === undefined
      ? { key: 'store', name: 'store', words: FORGOTTEN }
      : { key: 'store', name: 'store', kind: 'tail', depth: 0, start: spooled, end: from(storedTimeUnixNano), note: 'it can be searched' },
  );
  for (const one of item.exports) rows.push(exportOf(one, spooled ?? 0, from));
  if (!item.exports.length) rows.push({ key: 'export', name: 'export', words: 'no destination is set' });
  const waits = rows.some((row) => 'kind' in row && row.end === null);
  const since = now - Number(BigInt(ended) / 1_000_000n);
  const total = Math.max(waits ? since : 0, ...rows.map((row) => ('kind' in row ? Math.max(row.start, row.end ?? 0) : 0)), 0.001);
  return { rows, total };
}

/** Whether something of it is still to come. */
export const unsettled = (item: TraceItem): boolean =>
  (item.exports ?? []).some((one) => one.state === 'queued') || (item.tail?.calls ?? []).some((call) => call.endTimeUnixNano === undefined);

const FORGOTTEN = 'no longer known';

function exportOf(one: ExportPassage, spooled: number, from: (nanos: string) => number): After {
  const key = `export ${one.destination} ${one.signal}`;
  const name = `export: ${one.signal} → ${one.destination}`;
  if (one.state === 'unknown') return { key, name, words: FORGOTTEN };
  if (one.state === 'nothing') return { key, name, words: `no ${one.signal} to send` };
  return {
    key,
    name,
    kind: 'export',
    depth: 0,
    // What the exporter has not come to yet waits in the spool.
    start: one.readTimeUnixNano === undefined ? spooled : from(one.readTimeUnixNano),
    end: one.settledTimeUnixNano === undefined ? null : from(one.settledTimeUnixNano),
    open: 'queued',
    failed: one.state === 'rejected',
    note: noteOf(one),
  };
}

function noteOf(one: ExportPassage): string {
  const parts = [];
  if (one.delivered) parts.push(`delivered ${plural(one.delivered, one.signal === 'logs' ? 'log record' : 'span')}`);
  if (one.rejected) parts.push(`rejected ${number(one.rejected)}`);
  for (const [reason, count] of Object.entries(one.dropped ?? {})) parts.push(`dropped ${number(count)}: ${reason.replaceAll('_', ' ')}`);
  if (one.state === 'queued' && one.error) parts.push(`the destination says: ${one.error}`);
  return parts.join(', ');
}
