// All that one record says, each field a filter at a click.
import { useEffect, useRef } from 'preact/hooks';
import { get } from '../core/api';
import { bytes, duration, shown } from '../core/format';
import { useLoad } from '../core/load';
import { change } from '../core/place';
import { anew, narrowed, type Search } from '../core/search';
import type { Record_ } from '../core/types';
import { Waiting } from '../parts/connection';
import { Copy, Failure } from '../parts/parts';
import { loggedStacks } from '../parts/stack';

interface Field {
  name: string;
  value: unknown;
  text?: string;
  structured?: boolean;
  /** Not to be filtered by. */
  plain?: boolean;
}

interface Props {
  id: string;
  record: Record_ | undefined;
  search: Search;
  close(): void;
}

export function Detail({ id, record, search, close }: Props) {
  // A shared address names a row that the first page may not have.
  const { data, error, loading, since } = useLoad(record ? null : id, (signal) => fetchOne(id, signal));
  const shownRecord = record ?? data;
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    box.current?.scrollTo({ top: 0 });
  }, [id]);
  return (
    <aside class="detail" aria-label="All fields of the record" ref={box}>
      <header>
        <h2>{shownRecord?.kind ?? 'Record'}</h2>
        {shownRecord && <Copy text={() => JSON.stringify(shownRecord, null, 2)} label="Copy JSON" />}
        <Copy text={() => location.href} label="Copy link" />
        <button class="quiet" aria-label="Close" title="Escape" onClick={close}>
          ✕
        </button>
      </header>
      {shownRecord ? <Fields record={shownRecord} search={search} /> : error ? <Failure error={error} /> : loading && <Waiting since={since} what="the record" />}
    </aside>
  );
}

async function fetchOne(id: string, signal: AbortSignal): Promise<Record_> {
  const invocation = id.replace(/-[^-]*$/, '');
  const page = await get<{ logs: Record_[] }>(`/v1/logs?${new URLSearchParams({ q: `invocation:${JSON.stringify(invocation)}`, limit: '1000' })}`, signal);
  const found = page.logs.find((record) => record.id === id);
  if (!found) throw new Error('This record is not in the store; it may be too old.');
  return found;
}

function Fields({ record, search }: { record: Record_; search: Search }) {
  const filter = (field: Field, out: boolean): void => change(anew({ q: narrowed(search.q, field.name, field.value, out, field.structured ?? false) }));
  return (
    <>
      <pre class="detail-text" tabIndex={0} aria-label="Text">
        {record.text}
      </pre>
      <p class="actions">
        {record.invocationId && (
          <a class="button small" href={`/invocations/${encodeURIComponent(record.invocationId)}`}>
            Invocation
          </a>
        )}
        {record.traceId && (
          <a class="button small" href={`/invocations?q=${encodeURIComponent(`trace:${record.traceId}`)}&since=all`}>
            Trace
          </a>
        )}
        {record.workerId && (
          <a class="button small" href={`/workers/${encodeURIComponent(record.workerId)}`}>
            Worker
          </a>
        )}
      </p>
      <dl class="fields">
        {fieldsOf(record).map((field) => {
          const label = field.structured ? `member ${field.name}` : field.name;
          return (
          <div key={`${field.structured ? 'f.' : ''}${field.name}`}>
            <dt class={field.structured ? 'mono structured' : 'mono'}>{field.name}</dt>
            <dd>
              <span class="mono">{field.text ?? shown(field.value)}</span>
              {!field.plain && (
                <span class="field-buttons">
                  <button class="quiet" title="Only records with this value" aria-label={`Only ${label} ${shown(field.value)}`} onClick={() => filter(field, false)}>
                    +
                  </button>
                  <button class="quiet" title="Only records without this value" aria-label={`Not ${label} ${shown(field.value)}`} onClick={() => filter(field, true)}>
                    −
                  </button>
                </span>
              )}
            </dd>
          </div>
          );
        })}
      </dl>
      {loggedStacks(record.errorInfo).map((stack, n) => (
        <pre key={n} class="detail-text stack" tabIndex={0} aria-label="Stack of a logged error">
          {stack}
        </pre>
      ))}
      {record.exception?.stack && !record.text.includes(record.exception.stack) && <pre class="detail-text stack">{record.exception.stack}</pre>}
    </>
  );
}

function fieldsOf(record: Record_): Field[] {
  const known: Field[] = [
    { name: 'time', value: record.time, plain: true },
    { name: 'level', value: record.level },
    { name: 'kind', value: record.kind },
    { name: 'worker', value: record.workerId },
    { name: 'version', value: record.workerVersion },
    { name: 'invocation', value: record.invocationId },
    { name: 'trace', value: record.traceId },
    { name: 'outcome', value: record.outcome },
    { name: 'method', value: record.method },
    { name: 'path', value: record.path },
    { name: 'url', value: record.url },
    { name: 'status', value: record.status },
    { name: 'exception', value: record.exception?.type },
    { name: 'wallMs', value: record.wallMs, text: duration(record.wallMs), plain: true },
    { name: 'cpuMs', value: record.cpuMs, text: duration(record.cpuMs), plain: true },
    { name: 'memory', value: record.memoryBytes, text: bytes(record.memoryBytes), plain: true },
    { name: 'cold start', value: record.coldStart, plain: true },
    { name: 'sequence', value: record.sequence, plain: true },
  ];
  return [...known.filter((field) => field.value !== undefined), ...members(record.fields ?? {}, '', 0)];
}

/** Members of a logged object, those of inner objects with dots. */
function members(value: { [name: string]: unknown }, prefix: string, depth: number): Field[] {
  return Object.entries(value).flatMap(([name, inner]): Field[] => {
    const path = prefix + name;
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner) && depth < 8) return members(inner as { [name: string]: unknown }, `${path}.`, depth + 1);
    return [{ name: path, value: inner, structured: true, plain: typeof inner === 'object' }];
  });
}
