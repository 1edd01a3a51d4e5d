// Invocations, newest first; or the traces that they belong to.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, get, send } from '../core/api';
import { bytes, clock, duration, moment, plural } from '../core/format';
import { useKeys } from '../core/keys';
import { useLoad } from '../core/load';
import { change, go, usePlace } from '../core/place';
import { anew, fullQuery, offsetOf, requestOf, searchOf, type Search } from '../core/search';
import type { Invocation } from '../core/types';
import { Waiting } from '../parts/connection';
import { Empty, Failure, OutcomeBadge, Tabs } from '../parts/parts';
import { SearchBar } from '../parts/searchbar';

interface Trace {
  traceId: string;
  timeUnixNano: string;
  durationMs: number;
  text: string;
  workers: string[];
  invocations: number;
  errors: number;
  logs: number;
  running?: number;
}

interface Page<T> {
  /** Traces, and not invocations: an answer stays until the next one is here, also over a change of the view. */
  traces: boolean;
  rows: T[];
  nextCursor: string | null;
}

export function InvocationsPage() {
  const { params } = usePlace();
  const search = searchOf(params);
  const traces = params.get('view') === 'traces';
  const query = useRef<HTMLInputElement>(null);
  const [at, setAt] = useState(-1);
  const list = useRef<HTMLTableSectionElement>(null);
  const key = `${traces}|${requestOf(search)}`;
  const first = useLoad<Page<Invocation | Trace>>(key, (signal) => load(search, traces, null, signal));
  const [older, setOlder] = useState<Page<Invocation | Trace> | null>(null);
  useEffect(() => {
    setOlder(null);
    setAt(-1);
  }, [key]);
  const data = first.data?.traces === traces ? first.data : undefined;
  const further = older?.traces === traces ? older : null;
  const rows = [...(data?.rows ?? []), ...(further?.rows ?? [])];
  const cursor = further ? further.nextCursor : (data?.nextCursor ?? null);
  const addressOf = (row: Invocation | Trace): string =>
    'invocationId' in row ? `/invocations/${encodeURIComponent(row.invocationId)}` : `/invocations?q=${encodeURIComponent(`trace:${row.traceId}`)}&since=all`;
  const move = (to: number): void => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    setAt(next);
    list.current?.rows[next]?.querySelector('a')?.focus();
  };
  useKeys([
    { key: '/', label: 'Search', run: () => query.current?.focus() },
    { key: 'j', label: 'Next row', run: () => move(at + 1) },
    { key: 'ArrowDown', label: 'Next row', run: () => move(at + 1) },
    { key: 'k', label: 'Previous row', run: () => move(at - 1) },
    { key: 'ArrowUp', label: 'Previous row', run: () => move(at - 1) },
    { key: 'Enter', label: 'Open the row', run: () => rows[at] && go(addressOf(rows[at])) },
    { key: 'r', label: 'Ask again', run: first.reload },
  ]);
  const more = (): void => {
    void load(search, traces, cursor).then((page) => setOlder({ ...page, rows: [...(further?.rows ?? []), ...page.rows] }));
  };
  return (
    <div class="invocations">
      <header class="head">
        <h1>Invocations</h1>
        <SearchBar search={search} box={query} invalid={first.error instanceof ApiError} levels={false} />
        <div class="head-rest">
          <button onClick={first.reload} title="r">
            Refresh
          </button>
        </div>
      </header>
      <Tabs
        label="What is listed"
        now={traces ? 'traces' : 'invocations'}
        set={(id) => change(anew({ view: id === 'traces' ? 'traces' : null }))}
        tabs={[
          { id: 'invocations', name: 'Invocations' },
          { id: 'traces', name: 'Traces' },
        ]}
      />
      {first.error && <Failure error={first.error} text={search.q} offset={offsetOf(search)} />}
      {first.loading && !rows.length && <Waiting since={first.since} what={traces ? 'traces' : 'invocations'} />}
      {rows.length > 0 && (
        <div class="scroll">
          {traces ? <TraceTable rows={rows as Trace[]} list={list} addressOf={addressOf} /> : <InvocationTable rows={rows as Invocation[]} list={list} at={at} />}
          {cursor && (
            <p class="actions centred">
              <button onClick={more}>Load older ones</button>
            </p>
          )}
        </div>
      )}
      {data && !rows.length && !first.error && (
        <Empty title={search.since === 'all' && !fullQuery(search) ? 'No invocations yet' : 'No invocation fits'} curl={`curl -i ${location.origin}/w/hello/`}>
          Each call of a worker is one row here, with its outcome, its times and its waterfall. Widen the time range, or call a worker:
        </Empty>
      )}
    </div>
  );
}

async function load(search: Search, traces: boolean, cursor: string | null, signal?: AbortSignal): Promise<Page<Invocation | Trace>> {
  const params = requestOf(search, { limit: '100', ...(cursor ? { cursor } : {}) });
  if (!traces) {
    const page = await get<{ invocations: Invocation[]; nextCursor: string | null }>(`/v1/invocations?${params}`, signal);
    return { traces, rows: page.invocations, nextCursor: page.nextCursor };
  }
  const body = { view: 'traces', ...Object.fromEntries(params), limit: 50 };
  const page = await send<{ traces: Trace[]; nextCursor: string | null }>('POST', '/v1/query', body, signal);
  return { traces, rows: page.traces, nextCursor: page.nextCursor };
}

type List = { list: { current: HTMLTableSectionElement | null } };

export function InvocationTable({ rows, list, at = -1, brief = false }: { rows: Invocation[]; at?: number; brief?: boolean } & Partial<List>) {
  const longest = Math.max(1, ...rows.map((row) => row.wallMs ?? 0));
  return (
    <table class="invocation-table">
      <thead>
        <tr>
          <th>Time</th>
          <th>Outcome</th>
          <th>Event</th>
          {!brief && <th class="hide-narrow">Worker</th>}
          <th class="right">Duration</th>
          <th class="right hide-narrow">CPU</th>
          <th class="right hide-narrow">Memory</th>
          <th class="hide-narrow">Start</th>
          <th class="right hide-narrow">Logs</th>
        </tr>
      </thead>
      <tbody ref={list}>
        {rows.map((row, n) => (
          <tr key={row.invocationId} aria-selected={n === at}>
            <td class="mono" title={row.time}>
              {clock(row.timeUnixNano)}
            </td>
            <td>
              <OutcomeBadge outcome={row.outcome} status={row.status} />
            </td>
            <td class="wide">
              <a href={`/invocations/${encodeURIComponent(row.invocationId)}`}>
                {row.method ? `${row.method} ${row.path}` : row.text}
              </a>{' '}
              {row.status !== undefined && <span class="mono muted">{row.status}</span>}
            </td>
            {!brief && (
              <td class="hide-narrow wide">
                <a href={`/workers/${encodeURIComponent(row.workerId)}`}>{row.workerId}</a>
              </td>
            )}
            <td class="right">
              {duration(row.wallMs)}
              <span class="mini-bar" aria-hidden="true">
                <span style={{ width: `${((row.wallMs ?? 0) / longest) * 100}%` }} />
              </span>
            </td>
            <td class="right hide-narrow">{duration(row.cpuMs)}</td>
            <td class="right hide-narrow">{bytes(row.memoryBytes)}</td>
            <td class="hide-narrow">{row.coldStart ? 'cold' : row.coldStart === false ? 'warm' : ''}</td>
            <td class="right hide-narrow">
              {row.logs}
              {row.exceptions > 0 && <span class="level error"> +{row.exceptions}</span>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function TraceTable({ rows, list, addressOf }: { rows: Trace[]; addressOf(row: Trace): string } & List) {
  return (
    <table>
      <thead>
        <tr>
          <th>Begun</th>
          <th>First event</th>
          <th class="hide-narrow">Workers</th>
          <th class="right">Invocations</th>
          <th class="right">Errors</th>
          <th class="right">Duration</th>
        </tr>
      </thead>
      <tbody ref={list}>
        {rows.map((row) => (
          <tr key={row.traceId}>
            <td class="mono">{moment(Number(BigInt(row.timeUnixNano) / 1_000_000n))}</td>
            <td class="wide">
              <a href={addressOf(row)}>{row.text}</a>
            </td>
            <td class="hide-narrow wide">{row.workers.join(', ')}</td>
            <td class="right">
              {row.invocations}
              {row.running ? <span class="muted"> ({plural(row.running, 'runs', 'run')})</span> : ''}
            </td>
            <td class={row.errors ? 'right level error' : 'right'}>{row.errors}</td>
            <td class="right">{duration(row.durationMs)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
