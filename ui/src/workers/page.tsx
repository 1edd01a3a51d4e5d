// All workers: how much they are used, how often they fail, how long they take.
import { useRef, useState } from 'preact/hooks';
import { get } from '../core/api';
import { ago, duration, number, plural } from '../core/format';
import { useKeys } from '../core/keys';
import { useEvery, useLoad } from '../core/load';
import { change, usePlace } from '../core/place';
import { quoted } from '../core/search';
import type { Worker } from '../core/types';
import { Waiting } from '../parts/connection';
import { Empty, Failure, Head } from '../parts/parts';
import { calledOf, ratesBy, sum, type Rates } from './rates';

const HOUR = 36e5;

export function WorkersPage() {
  const { params } = usePlace();
  const filter = params.get('filter') ?? '';
  const box = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLTableSectionElement>(null);
  const [at, setAt] = useState(-1);
  const workers = useLoad('workers', (signal) => get<{ workers: Worker[] }>('/v1/workers', signal));
  const rates = useLoad('rates', (signal) => ratesBy('worker', '', HOUR, 40, signal));
  useEvery(10_000, () => {
    workers.reload();
    rates.reload();
  });
  const registered = workers.data?.workers ?? [];
  const known = new Set(registered.map((worker) => worker.workerId));
  const unknown = workers.data ? [...(rates.data?.all.keys() ?? [])].filter((id) => !known.has(id)) : [];
  const doubtful = unknown.filter((id) => sum(rates.data?.all.get(id)) === sum(rates.data?.failed.get(id)));
  const called = useLoad(doubtful.length ? doubtful.join('\n') : null, (signal) => calledOf(doubtful, Date.now() - HOUR, signal));
  const others = unknown.filter((id) => !doubtful.includes(id) || called.data?.has(id));
  const fits = (id: string): boolean => id.toLowerCase().includes(filter.toLowerCase());
  const move = (to: number): void => {
    const links = list.current?.querySelectorAll<HTMLElement>('td:first-child a') ?? [];
    const next = Math.max(0, Math.min(links.length - 1, to));
    setAt(next);
    links[next]?.focus();
  };
  useKeys([
    { key: '/', label: 'Filter', run: () => box.current?.focus() },
    { key: 'j', label: 'Next row', run: () => move(at + 1) },
    { key: 'k', label: 'Previous row', run: () => move(at - 1) },
    { key: 'ArrowDown', label: 'Next row', run: () => move(at + 1) },
    { key: 'ArrowUp', label: 'Previous row', run: () => move(at - 1) },
  ]);
  return (
    <>
      <Head title="Workers">
        <input
          ref={box}
          aria-label="Filter by id"
          placeholder="Filter by id"
          value={filter}
          onInput={(event) => change({ filter: event.currentTarget.value }, true)}
        />
        <a class="button primary-link" href="/playground">
          New in the playground
        </a>
      </Head>
      {workers.error && <Failure error={workers.error} />}
      {workers.loading && !workers.data && <Waiting since={workers.since} what="workers" />}
      {workers.data && registered.length + others.length === 0 && (
        <Empty
          title="No worker yet"
          curl={`echo 'export default { fetch() { return new Response("hi") } }' > worker.js
curl -X PUT ${location.origin}/v1/workers/demo -H 'content-type: application/javascript' --data-binary @worker.js`}
        >
          A worker is code under an id. Deploy one from the <a href="/playground">playground</a>, or from a shell:
        </Empty>
      )}
      {registered.length + others.length > 0 && (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>Worker</th>
                <th class="hide-narrow">Last hour</th>
                <th class="right">Invocations</th>
                <th class="right">Errors</th>
                <th class="right">p95</th>
                <th class="hide-narrow">Last seen</th>
                <th class="hide-narrow">Version</th>
              </tr>
            </thead>
            <tbody ref={list}>
              {registered.filter((worker) => fits(worker.workerId)).map((worker) => (
                <Row key={worker.workerId} id={worker.workerId} worker={worker} rates={rates.data} />
              ))}
              {others.filter(fits).map((id) => (
                <Row key={id} id={id} rates={rates.data} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function Row({ id, worker, rates }: { id: string; worker?: Worker; rates: Rates | undefined }) {
  const all = rates?.all.get(id);
  const failed = rates?.failed.get(id);
  const count = sum(all);
  const errors = sum(failed);
  return (
    <tr>
      <td class="wide">
        {worker ? <a href={`/workers/${encodeURIComponent(id)}`}>{id}</a> : <a href={`/logs?q=${encodeURIComponent(`worker:${quoted(id)}`)}`}>{id}</a>}
        {!worker && <span class="muted"> not registered</span>}
        {worker && Object.entries(worker.tags).map(([name, value]) => <span class="tag" key={name}>{`${name}: ${value}`}</span>)}
      </td>
      <td class="hide-narrow">
        <Sparkline all={all} failed={failed} label={`${id}: ${plural(count, 'invocation')} in the last hour`} />
      </td>
      <td class="right" title={worker?.counters ? `${number(worker.counters.invocations)} in all` : ''}>
        {number(count)}
      </td>
      <td class="right">
        {errors ? (
          <a class="bad-text" href={`/logs?level=error&q=${encodeURIComponent(`worker:${quoted(id)}`)}`} title="Errors of the last hour">
            {`${number(errors)} (${((errors / Math.max(1, count)) * 100).toFixed(errors === count ? 0 : 1)} %)`}
          </a>
        ) : (
          '0'
        )}
      </td>
      <td class="right">{duration(rates?.p95.get(id) ?? worker?.counters?.p95Ms)}</td>
      <td class="hide-narrow">{worker?.counters?.lastSeenNs ? ago(worker.counters.lastSeenNs / 1e6) : worker ? 'never called' : ''}</td>
      <td class="mono hide-narrow">{worker?.version.slice(0, 12)}</td>
    </tr>
  );
}

/** Invocations over the last hour, failed ones on top in red. */
export function Sparkline({ all, failed, label }: { all: number[] | undefined; failed: number[] | undefined; label: string }) {
  if (!all) return <span class="muted">–</span>;
  const most = Math.max(1, ...all);
  const width = 100 / all.length;
  return (
    <svg class="sparkline" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label={label}>
      {all.map((value, n) => {
        const height = value ? Math.max(1, (value / most) * 20) : 0;
        const bad = ((failed?.[n] ?? 0) / most) * 20;
        return (
          <g key={n}>
            <rect x={n * width} y={20 - height} width={width * 0.8} height={height} class="ok" />
            {bad > 0 && <rect x={n * width} y={20 - height} width={width * 0.8} height={Math.min(height, Math.max(1, bad))} class="bad" />}
          </g>
        );
      })}
    </svg>
  );
}
