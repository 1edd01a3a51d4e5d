// One invocation: how it ended, its waterfall, its logs, its request.
import { useState } from 'preact/hooks';
import { ApiError, get } from '../core/api';
import { bytes, duration, moment, plural } from '../core/format';
import { useEvery, useLoad } from '../core/load';
import type { Invocation, Record_, TraceItem } from '../core/types';
import { Waiting } from '../parts/connection';
import { Copy, Empty, Fact, Failure, LevelBadge, OutcomeBadge } from '../parts/parts';
import { loggedStacks } from '../parts/stack';
import { InvocationTable } from './page';
import { unsettled } from './after';
import { Waterfall, type Tick } from './waterfall';

export function InvocationPage({ id }: { id: string }) {
  const item = useLoad(id, (signal) => get<TraceItem>(`/v1/invocations/${encodeURIComponent(id)}`, signal));
  const logs = useLoad(`logs ${id}`, (signal) =>
    get<{ logs: Record_[] }>(`/v1/logs?${new URLSearchParams({ q: `invocation:${JSON.stringify(id)}`, order: 'asc', limit: '1000' })}`, signal),
  );
  // One that still runs is looked at again, and one whose records are still on their way.
  const running = item.data !== undefined && item.data.outcome === undefined;
  useEvery(running || (item.data && unsettled(item.data)) ? 1_000 : null, () => {
    item.reload();
    if (running) logs.reload();
  });
  const missing = item.error instanceof ApiError && item.error.problem.status === 404;
  if (missing)
    return (
      <Empty title="This invocation is not in the store" curl={`curl ${location.origin}/v1/invocations/${id}`}>
        {item.error?.message}
      </Empty>
    );
  if (item.error) return <Failure error={item.error} />;
  if (!item.data) return <Waiting since={item.since} what="the invocation" />;
  return <Shown item={item.data} records={(logs.data?.logs ?? []).filter((record) => record.kind !== 'invocation')} />;
}

function Shown({ item, records }: { item: TraceItem; records: Record_[] }) {
  const [picked, setPicked] = useState<string | null>(null);
  const zero = BigInt(item.timing?.startTimeUnixNano ?? `${item.eventTimestamp}000000`);
  const ticks: Tick[] = records.map((record) => ({
    key: record.id,
    ms: Number(BigInt(record.timeUnixNano) - zero) / 1e6,
    level: record.level,
    text: record.exception ? `${record.exception.type}: ${record.exception.message}` : record.text,
  }));
  const { request, response } = item.event;
  const name = request ? `${request.method} ${pathOf(request.url)}` : (item.event.rpcMethod ?? item.event.cron ?? item.event.queue ?? 'invocation');
  const pick = (key: string): void => {
    setPicked(key);
    document.getElementById(`line-${key}`)?.scrollIntoView({ block: 'center' });
  };
  return (
    <div class="invocation-page">
      <header class="head">
        <h1>{name}</h1>
        <OutcomeBadge outcome={item.outcome} status={response?.status} />
        <div class="head-rest">
          <a class="button" href={`/logs?q=invocation:${item.invocationId}&since=all`}>
            Logs
          </a>
          <a class="button" href={`/workers/${encodeURIComponent(item.workerId)}`}>
            Worker
          </a>
          <Copy text={() => JSON.stringify(item, null, 2)} label="Copy JSON" />
        </div>
      </header>
      <div class="facts">
        {response && <Fact name="Status">{response.status}</Fact>}
        <Fact name="Duration">{duration(item.timing?.wallMs ?? item.wallTime)}</Fact>
        <Fact name="CPU">{duration(item.timing?.cpuMs ?? item.cpuTime)}</Fact>
        <Fact name="Memory">{bytes(item.memoryBytes)}</Fact>
        <Fact name="Instance">{item.coldStart ? 'cold' : 'warm'}</Fact>
        <Fact name="Begun">{moment(item.eventTimestamp)}</Fact>
        <Fact name="Worker">{item.workerId}</Fact>
        <Fact name="Version">
          <span class="mono">{item.workerVersion.slice(0, 16)}</span>
        </Fact>
      </div>
      {item.truncated && (
        <p class="note warn">
          Limits left out {plural(item.dropped.logs, 'log line')}, {plural(item.dropped.exceptions, 'exception')} and {bytes(item.dropped.bytes)}. The worker's <code>limits.logBytes</code> decides.
        </p>
      )}
      <section class="panel" aria-label="Waterfall">
        <header>
          <h2>Waterfall</h2>
        </header>
        <Waterfall item={item} ticks={ticks} pick={pick} />
      </section>
      <section class="panel" aria-label="Logs">
        <header>
          <h2>
            Logs <span class="count">{ticks.length}</span>
          </h2>
        </header>
        {ticks.length ? (
          <ol class="lines" tabIndex={0} aria-label="Log lines">
            {records.map((record, n) => (
              <li key={record.id} id={`line-${record.id}`} class={`${record.level} ${picked === record.id ? 'picked' : ''}`}>
                <span class="offset">+{duration(ticks[n]!.ms)}</span>
                <LevelBadge level={record.level} />
                <pre>{[record.text, ...loggedStacks(record.errorInfo)].join('\n')}</pre>
              </li>
            ))}
          </ol>
        ) : (
          <p class="waiting">It logged nothing.</p>
        )}
      </section>
      {request && (
        <section class="panel" aria-label="Request">
          <header>
            <h2>Request</h2>
          </header>
          <dl class="fields">
            {[['url', request.url], ...Object.entries(request.headers), ...(request.cf?.clientIp ? [['client', request.cf.clientIp]] : [])].map(([field, value]) => (
              <div key={field}>
                <dt class="mono">{field}</dt>
                <dd>
                  <span class="mono">{value}</span>
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      <SameTrace item={item} />
    </div>
  );
}

/** Other invocations that the same client caused. */
function SameTrace({ item }: { item: TraceItem }) {
  const { data } = useLoad(item.traceId, (signal) =>
    get<{ invocations: Invocation[] }>(`/v1/invocations?${new URLSearchParams({ q: `trace:${item.traceId}`, order: 'asc', limit: '100' })}`, signal),
  );
  if (!data || data.invocations.length < 2) return null;
  return (
    <section class="panel" aria-label="Trace">
      <header>
        <h2>
          Trace <span class="mono muted">{item.traceId}</span>
        </h2>
      </header>
      <InvocationTable rows={data.invocations} at={data.invocations.findIndex((one) => one.invocationId === item.invocationId)} />
    </section>
  );
}

function pathOf(url: string): string {
  const found = /^[a-z]+:\/\/[^/?#]*([^#]*)/i.exec(url);
  return found?.[1] || '/';
}
