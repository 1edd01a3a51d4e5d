// Health: what is wrong and what to do, then the figures behind it.
import { useState } from 'preact/hooks';
import { ApiError, ask, get, send } from '../core/api';
import { ago, bytes, duration, number, plural } from '../core/format';
import { useKeys } from '../core/keys';
import { useEvery, useLoad } from '../core/load';
import type { Account, Exports } from '../core/types';
import { Waiting } from '../parts/connection';
import { Command, Failure, Head } from '../parts/parts';
import { DeadLetters } from './letters';
import { parseMetrics, values, type Metric } from './metrics';
import { findingsOf, type Finding } from './verdict';

interface State {
  exports: Exports;
  metrics: Metric[];
  notReady: string | null;
}

async function look(signal: AbortSignal): Promise<State> {
  const [exports, text, ready] = await Promise.all([
    get<Exports>('/v1/exports', signal),
    ask('/metrics', { signal }).then((answer) => answer.text()),
    ask('/readyz', { signal }).then(
      () => null,
      (error: Error) => {
        if (error instanceof ApiError) return error.message;
        throw error;
      },
    ),
  ]);
  return { exports, metrics: parseMetrics(text), notReady: ready };
}

export function HealthPage() {
  const { data, error, loading, since, reload } = useLoad('health', look);
  useEvery(3_000, reload);
  useKeys([{ key: 'r', label: 'Ask again', run: reload }]);
  return (
    <>
      <Head title="Health">
        <span class="muted">looked at every 3 s</span>
      </Head>
      {error && <Failure error={error} />}
      {!data && loading && <Waiting since={since} what="the state of the service" />}
      {data && (
        <div class="health-body">
          <section class="findings" aria-label="What is wrong" role="status">
            {findingsOf(data.exports, data.metrics, data.notReady).map((one) => (
              <Verdict key={one.says} finding={one} />
            ))}
          </section>
          <Destinations exports={data.exports} done={reload} />
          <LedgerTable exports={data.exports} />
          <Spool metrics={data.metrics} />
          <Processes exports={data.exports} metrics={data.metrics} />
        </div>
      )}
    </>
  );
}

const Verdict = ({ finding }: { finding: Finding }) => (
  <div class={`note ${finding.kind}`}>
    <p>
      <b>{finding.says}</b> {finding.advice}
    </p>
  </div>
);

function Destinations({ exports, done }: { exports: Exports; done(): void }) {
  const [sent, setSent] = useState('');
  const resend = async (name: string): Promise<void> => {
    setSent(`Sending dead letters to ${name} again…`);
    try {
      const answer = await send<{ delivered: number; failed: number; left: number }>('POST', `/v1/exports/resend?${new URLSearchParams({ destination: name })}`);
      setSent(`${name}: ${number(answer.delivered)} delivered, ${number(answer.failed)} refused again, ${number(answer.left)} not tried in time.`);
    } catch (error) {
      setSent((error as Error).message);
    }
    done();
  };
  return (
    <section class="panel" aria-label="Destinations">
      <header>
        <h2>Destinations</h2>
      </header>
      {exports.destinations.length === 0 ? (
        <div class="panel-body">
          <p class="muted">Nothing is sent on. Any OTLP endpoint can be a destination; start the service with this, without <code>.venv/bin/</code> where the package is installed:</p>
          <Command text="OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 .venv/bin/otelbridge serve" />
        </div>
      ) : (
        <div class="table-box">
          <table>
            <thead>
              <tr>
                <th>Name</th>
                <th>State</th>
                <th class="right">Lag</th>
                <th class="right">Delivered</th>
                <th class="right">Queued</th>
                <th class="right">Refused</th>
                <th class="hide-narrow">Endpoint</th>
                <th>
                  <span class="unseen">Action</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {exports.destinations.map((one) => {
                const all = Object.values(one.signals);
                const sum = (pick: (account: Account) => number): number => all.reduce((total, account) => total + pick(account), 0);
                return (
                  <tr key={one.name}>
                    <td class="wide">{one.name}</td>
                    <td>
                      <span class={`outcome ${one.state === 'ok' ? 'good' : one.state === 'idle' ? 'running' : one.state === 'partial' ? 'left' : 'bad'}`}>{one.state}</span>
                      {one.lastError && <div class="muted wide">{one.lastError}</div>}
                    </td>
                    <td class="right">{duration(one.lagSeconds * 1000)}</td>
                    <td class="right">{number(sum((a) => a.delivered))}</td>
                    <td class="right">{number(sum((a) => a.queued))}</td>
                    <td class="right">{number(sum((a) => a.rejected))}</td>
                    <td class="hide-narrow wide mono">
                      {one.endpoint} <span class="muted">{one.protocol}</span>
                    </td>
                    <td>
                      {sum((a) => a.rejected) > 0 && (
                        <button class="small" onClick={() => void resend(one.name)}>
                          Send again
                        </button>
                      )}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      {sent && (
        <p class="waiting" role="status">
          {sent}
        </p>
      )}
      {exports.destinations.length > 0 && <DeadLetters />}
    </section>
  );
}

const LEDGER = ['emitted', 'delivered', 'queued', 'rejected'] as const;

/** emitted = delivered + queued + rejected + dropped, line by line. */
function LedgerTable({ exports }: { exports: Exports }) {
  const rows: [string, string, Account][] = [
    ...Object.entries(exports.total).map(([signal, account]): [string, string, Account] => ['all workers', signal, account]),
    ['the service itself', 'logs', exports.bridge.logs],
    ...exports.workers.slice(0, 200).flatMap((one): [string, string, Account][] => [
      [one.workerId, 'logs', one.logs],
      [one.workerId, 'spans', one.spans],
    ]),
  ];
  const shown = rows.filter(([name, , account], n) => n < 2 || account.emitted > 0 || name === 'all workers');
  return (
    <section class="panel" aria-label="Loss ledger">
      <header>
        <h2>Loss ledger</h2>
        <span class="muted">emitted = delivered + queued + refused + dropped</span>
      </header>
      <div class="table-box">
        <table>
          <thead>
            <tr>
              <th>Of</th>
              <th>Signal</th>
              <th class="right">Emitted</th>
              <th class="right">Delivered</th>
              <th class="right">Queued</th>
              <th class="right">Refused</th>
              <th class="right">Dropped</th>
            </tr>
          </thead>
          <tbody>
            {shown.map(([name, signal, account]) => (
              <tr key={`${name} ${signal}`}>
                <td class="wide">{name}</td>
                <td>{signal}</td>
                {LEDGER.map((member) => (
                  <td key={member} class={member === 'rejected' && account.rejected ? 'right bad-text' : 'right'}>
                    {number(account[member])}
                  </td>
                ))}
                <td class="right">
                  {Object.keys(account.dropped).length
                    ? Object.entries(account.dropped).map(([reason, count]) => (
                        <div key={reason}>
                          {number(count)} <span class="muted">{reason.replaceAll('_', ' ')}</span>
                        </div>
                      ))
                    : '0'}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {exports.damaged.length > 0 && (
        <p class="waiting">
          Not in this equation: what stood in {exports.damaged.map((one) => `${bytes(one.bytes)} of the spool ${one.spool}`).join(', ')} that can't be read. Nobody can say how many
          records those were.
        </p>
      )}
    </section>
  );
}

function Spool({ metrics }: { metrics: Metric[] }) {
  const sizes = values(metrics, 'otelbridge_spool_size_bytes');
  return (
    <section class="panel" aria-label="Spool">
      <header>
        <h2>Spool</h2>
        <span class="muted">what is on its way, on disk</span>
      </header>
      <div class="facts">
        {sizes.map((one) => (
          <div class="fact" key={one.labels['spool']}>
            <span class="fact-name">{one.labels['spool']}</span>
            <span class="fact-value">{bytes(one.value)}</span>
          </div>
        ))}
        {!sizes.length && <span class="muted">The service tells nothing about its spool.</span>}
      </div>
    </section>
  );
}

function Processes({ exports, metrics }: { exports: Exports; metrics: Metric[] }) {
  const of = (name: string, process: string): number | undefined => values(metrics, name).find((one) => one.labels['process'] === process)?.value;
  return (
    <section class="panel" aria-label="Processes">
      <header>
        <h2>Processes</h2>
        <span class="muted">{plural(exports.processes?.length ?? 0, 'process', 'processes')}</span>
      </header>
      <div class="table-box">
        <table>
          <thead>
            <tr>
              <th>Name</th>
              <th>State</th>
              <th class="hide-narrow">Since</th>
              <th class="right">Memory</th>
              <th class="right">CPU time</th>
              <th class="right">Instances</th>
              <th class="right">Waiting</th>
              <th class="right hide-narrow">Restarts</th>
            </tr>
          </thead>
          <tbody>
            {(exports.processes ?? []).map((one) => (
              <tr key={one.name}>
                <td>
                  {one.name} <span class="muted">{one.role !== one.name && one.role} {one.pid}</span>
                </td>
                <td>
                  <span class={`outcome ${one.state === 'running' ? 'good' : 'bad'}`}>{one.state}</span>
                </td>
                <td class="hide-narrow">{ago(Date.parse(one.since))}</td>
                <td class="right">{bytes(of('otelbridge_process_memory_bytes', one.name))}</td>
                <td class="right">{duration((of('otelbridge_process_cpu_time_seconds_total', one.name) ?? 0) * 1000)}</td>
                <td class="right">
                  {of('otelbridge_process_instances', one.name) === undefined
                    ? '–'
                    : `${number(of('otelbridge_process_instances_busy', one.name))} of ${number(of('otelbridge_process_instances', one.name))}`}
                </td>
                <td class="right">{number(of('otelbridge_process_invocations_queued', one.name))}</td>
                <td class="right hide-narrow">{number(of('otelbridge_process_restarts_total', one.name))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
