// One worker: its use, its code, its limits and versions, its latest logs.
import { useMemo, useState } from 'preact/hooks';
import { ApiError, get, send } from '../core/api';
import { ago, bytes, clock, duration, moment, number } from '../core/format';
import { useEvery, useLoad } from '../core/load';
import { go } from '../core/place';
import { quoted } from '../core/search';
import type { Invocation, QueryAnswer, Record_, Worker } from '../core/types';
import { InvocationTable } from '../invocations/page';
import { Chart, type Series } from '../parts/chart';
import { Waiting } from '../parts/connection';
import { Dialog } from '../parts/dialog';
import { Editor } from '../parts/editor';
import { Command, Empty, Fact, Failure, LevelBadge, Tabs } from '../parts/parts';
import { ratesBy, sum, timesOf } from './rates';

export function WorkerPage({ id }: { id: string }) {
  const path = `/v1/workers/${encodeURIComponent(id)}`;
  const q = `worker:${quoted(id)}`;
  const worker = useLoad(id, (signal) => get<Worker>(path, signal));
  const [deleting, setDeleting] = useState(false);
  if (worker.error instanceof ApiError && worker.error.problem.status === 404)
    return (
      <Empty title={`There is no worker ${id}`}>
        It was deleted, or never registered; its logs may still be there: <a href={`/logs?q=${encodeURIComponent(q)}&since=all`}>search them</a>.
      </Empty>
    );
  if (worker.error) return <Failure error={worker.error} />;
  if (!worker.data) return <Waiting since={worker.since} what="the worker" />;
  const { data } = worker;
  return (
    <div class="worker">
      <header class="head">
        <h1>{id}</h1>
        {Object.entries(data.tags).map(([name, value]) => (
          <span class="tag" key={name}>{`${name}: ${value}`}</span>
        ))}
        <div class="head-rest">
          <a class="button" href={`/logs?q=${encodeURIComponent(q)}`}>
            Logs
          </a>
          <a class="button" href={`/logs?level=error&q=${encodeURIComponent(q)}`}>
            Errors
          </a>
          <a class="button" href={`/logs?live=1&q=${encodeURIComponent(q)}`}>
            Live
          </a>
          <a class="button" href={`/playground?worker=${encodeURIComponent(id)}`}>
            Edit
          </a>
          <button class="danger" onClick={() => setDeleting(true)}>
            Delete…
          </button>
        </div>
      </header>
      {(data.warnings ?? []).map((warning) => (
        <p class="note warn" key={warning}>
          {warning}
        </p>
      ))}
      <div class="facts">
        <Fact name="Invocations">{number(data.counters?.invocations ?? 0)}</Fact>
        <Fact name="Errors">
          <a href={`/logs?level=error&q=${encodeURIComponent(q)}`} title="Errors of the last hour">
            {number(data.counters?.errors ?? 0)}
          </a>
        </Fact>
        <Fact name="p95">{duration(data.counters?.p95Ms)}</Fact>
        <Fact name="Last seen">{data.counters?.lastSeenNs ? ago(data.counters.lastSeenNs / 1e6) : 'never called'}</Fact>
        <Fact name="Version">
          <span class="mono">{data.version.slice(0, 16)}</span>
        </Fact>
        <Fact name="Updated">{moment(Date.parse(data.updated))}</Fact>
        <Fact name="Instances">{data.isolation === 'invocation' ? 'a fresh one each time' : 'reused'}</Fact>
        <Fact name="Limits">{limitsText(data.limits)}</Fact>
      </div>
      <Charts q={q} />
      <Latest q={q} id={id} />
      <Code worker={data} />
      <Versions q={q} now={data.version} />
      {deleting && <DeleteDialog id={id} close={() => setDeleting(false)} />}
    </div>
  );
}

const UNITS: Record<string, (n: number) => string> = { cpuMs: duration, wallMs: duration, memoryMb: (n) => `${n} MiB`, logBytes: bytes };
const NAMES: Record<string, string> = { cpuMs: 'CPU', wallMs: 'time', memoryMb: 'memory', logBytes: 'logs', subRequests: 'subrequests' };
const limitsText = (limits: Worker['limits']): string =>
  Object.entries(limits)
    .map(([name, value]) => `${NAMES[name] ?? name} ${(UNITS[name] ?? number)(value)}`)
    .join(', ') || 'the defaults';

function Charts({ q }: { q: string }) {
  const { data, reload } = useLoad(`rates ${q}`, (signal) => ratesBy('worker', q, 36e5, 60, signal));
  const times = useLoad(`times ${q}`, (signal) => timesOf(q, signal));
  useEvery(10_000, () => {
    reload();
    times.reload();
  });
  const chart = useMemo((): { series: Series[]; count: number } | null => {
    if (!data) return null;
    const all = [...data.all.values()][0] ?? data.times.map(() => 0);
    const failed = [...data.failed.values()][0] ?? data.times.map(() => 0);
    const fine = all.map((value, n) => value - (failed[n] ?? 0));
    return { count: sum(all), series: [{ name: 'fine', colour: '--accent', values: fine }, { name: 'failed', colour: '--error', values: failed }] };
  }, [data]);
  return (
    <section class="panel" aria-label="Last hour">
      <header>
        <h2>Last hour</h2>
        <span class="muted">{chart && `${number(chart.count)} invocations`}</span>
      </header>
      {data && chart ? (
        <Chart kind="bars" times={data.times} bucketMs={data.bucketMs} series={chart.series} height={120} label="Invocations in the last hour" legend />
      ) : (
        <p class="waiting">Loading…</p>
      )}
      {times.data && (
        <Chart kind="line" times={times.data.times} bucketMs={times.data.bucketMs} series={times.data.series} height={110} label="Duration in ms" legend />
      )}
    </section>
  );
}

function Latest({ q, id }: { q: string; id: string }) {
  const params = (limit: string): URLSearchParams => new URLSearchParams({ q, limit });
  const invocations = useLoad(`i ${q}`, (signal) => get<{ invocations: Invocation[] }>(`/v1/invocations?${params('8')}`, signal));
  const logs = useLoad(`l ${q}`, (signal) => get<{ logs: Record_[] }>(`/v1/logs?${params('12')}`, signal));
  useEvery(5_000, () => {
    invocations.reload();
    logs.reload();
  });
  const found = logs.data?.logs ?? [];
  return (
    <>
      <section class="panel" aria-label="Latest invocations">
        <header>
          <h2>Latest invocations</h2>
          <a href={`/invocations?q=${encodeURIComponent(q)}`}>All</a>
        </header>
        {invocations.data?.invocations.length ? (
          <InvocationTable rows={invocations.data.invocations} brief />
        ) : (
          <div class="panel-body">
            <p class="muted">It was not called yet. Call it:</p>
            <Command text={`curl -i ${location.origin}/w/${encodeURIComponent(id)}/`} />
          </div>
        )}
      </section>
      {found.length > 0 && (
        <section class="panel" aria-label="Latest logs">
          <header>
            <h2>Latest logs</h2>
            <a href={`/logs?q=${encodeURIComponent(q)}`}>All</a>
          </header>
          <ol class="lines" tabIndex={0} aria-label="Latest log lines">
            {found.map((record) => (
              <li key={record.id} class={record.level}>
                <span class="offset">{clock(record.timeUnixNano)}</span>
                <LevelBadge level={record.level} />
                <pre>{record.text.slice(0, 2_000)}</pre>
              </li>
            ))}
          </ol>
        </section>
      )}
    </>
  );
}

function Code({ worker }: { worker: Worker }) {
  const names = Object.keys(worker.modules);
  const [name, setName] = useState(worker.mainModule);
  const source = worker.sources?.[name];
  return (
    <section class="panel" aria-label="Code">
      <Tabs label="Modules" now={name} set={setName} tabs={names.map((one) => ({ id: one, name: one }))} />
      {source === undefined ? (
        <p class="waiting">{name} is a {worker.modules[name]} module; it has no text.</p>
      ) : (
        <div class="code-box">
          <Editor text={source} name={name} label={`Source of ${name}`} readOnly changed={() => undefined} />
        </div>
      )}
    </section>
  );
}

function Versions({ q, now }: { q: string; now: string }) {
  const { data } = useLoad(`v ${q}`, (signal) =>
    send<QueryAnswer>(
      'POST',
      '/v1/query',
      { view: 'calculations', q: `kind:invocation ${q}`, since: '7d', groupBy: ['version'], calculations: [{ operator: 'count', alias: 'n' }, { operator: 'p95', key: 'wallMs', alias: 'p95' }] },
      signal,
    ),
  );
  if (!data?.calculations?.length) return null;
  return (
    <section class="panel" aria-label="Versions">
      <header>
        <h2>Versions of the last 7 days</h2>
      </header>
      <table>
        <thead>
          <tr>
            <th>Version</th>
            <th class="right">Invocations</th>
            <th class="right">p95</th>
          </tr>
        </thead>
        <tbody>
          {data.calculations.map((row) => {
            const version = String(row.groups['version']);
            return (
              <tr key={version}>
                <td class="mono">
                  <a href={`/logs?since=7d&q=${encodeURIComponent(`${q} version:${version}`)}`}>{version}</a> {version === now && <span class="tag">in force</span>}
                </td>
                <td class="right">{number(row.values['n'])}</td>
                <td class="right">{duration(row.values['p95'])}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function DeleteDialog({ id, close }: { id: string; close(): void }) {
  const [error, setError] = useState<Error | null>(null);
  const remove = async (): Promise<void> => {
    try {
      await send('DELETE', `/v1/workers/${encodeURIComponent(id)}`);
      close();
      go('/workers');
    } catch (problem) {
      setError(problem as Error);
    }
  };
  return (
    <Dialog title="Delete this worker?" close={close}>
      <p>
        <b>{id}</b> stops answering at once. Its code is gone then; its logs stay.
      </p>
      {error && <Failure error={error} />}
      <p class="actions">
        <button class="danger" onClick={() => void remove()}>
          Delete {id}
        </button>
        <button onClick={close}>Keep it</button>
      </p>
    </Dialog>
  );
}
