// What a run gave: how it ended, where the time went, the response, and what was logged.
import { useEffect, useState } from 'preact/hooks';
import { bytes, duration, plural } from '../core/format';
import type { RunResult } from '../core/types';
import { Empty, Fact, Failure, OutcomeBadge } from '../parts/parts';
import { Stack } from '../parts/stack';
import { LogLines, linesOf } from './lines';
import { ResponseView } from './response';
import type { Run } from './run';

type Reveal = (file: string, line: number, column: number) => void;

export function Results({ run, files, reveal }: { run: Run; files: string[]; reveal: Reveal }) {
  if (run.state === 'idle')
    return (
      <Empty title="Nothing has run yet" curl={CURL}>
        Press Run or Ctrl+Enter. Logs appear here while the code runs. The same without a browser:
      </Empty>
    );
  const { result, trace } = run;
  const outcome = trace?.outcome ?? result?.error?.outcome;
  const lines = linesOf(run);
  return (
    <>
      <div class="result-head" role="status">
        {run.state === 'running' ? (
          <Running since={run.startedAt} />
        ) : run.state === 'finishing' ? (
          <span class="outcome running">answered, still at work</span>
        ) : (
          !run.error && <OutcomeBadge outcome={outcome} status={result?.response?.status} />
        )}
        {result?.response && <b class="mono">{result.response.status}</b>}
        {trace && (
          <a href={`/invocations/${trace.invocationId}`} title="The waterfall of this invocation">
            Waterfall
          </a>
        )}
      </div>
      {run.error && <Failure error={run.error} />}
      {result && <Timing result={result} />}
      {trace && (
        <div class="facts">
          <Fact name="CPU">{duration(trace.timing?.cpuMs ?? trace.cpuTime)}</Fact>
          <Fact name="Memory">{bytes(trace.memoryBytes)}</Fact>
          <Fact name="Instance">{trace.coldStart ? 'cold' : 'warm'}</Fact>
          <Fact name="Subrequests">{trace.subrequests.length}</Fact>
          {trace.truncated && <Fact name="Left out by limits">{plural(trace.dropped.logs + trace.dropped.exceptions, 'line')}</Fact>}
        </div>
      )}
      {result?.error && (
        <section class="note bad thrown" aria-label="Exception">
          <p>
            <b>{result.error.name}</b>: {result.error.message}
          </p>
          {result.error.stack && <Stack text={result.error.stack} files={files} open={reveal} />}
        </section>
      )}
      {result?.response && <ResponseView response={result.response} />}
      <section class="panel logs-panel" aria-label="Logs">
        <header>
          <h2>
            Logs <span class="count">{lines.length}</span>
          </h2>
          {run.state === 'running' && <span class="muted">live</span>}
          {trace && (
            <a href={`/logs?q=invocation:${trace.invocationId}`} class="muted">
              In the explorer
            </a>
          )}
        </header>
        {run.missed > 0 && <p class="note warn">{plural(run.missed, 'line')} too many to show here; the explorer has them.</p>}
        <LogLines lines={lines} since={lines[0]?.timeMs ?? 0} files={files} reveal={reveal} />
      </section>
    </>
  );
}

function Running({ since }: { since: number }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 100);
    return () => clearInterval(timer);
  }, []);
  return <span class="outcome running">running, {((Date.now() - since) / 1000).toFixed(1)} s</span>;
}

/** Bars for compile, start and run, to scale. */
function Timing({ result: { timing } }: { result: RunResult }) {
  const parts = [
    { name: 'Compile', ms: timing.compileMs },
    { name: 'Start', ms: timing.startMs },
    { name: 'Run', ms: timing.runMs },
  ];
  const most = Math.max(timing.totalMs, 0.001);
  return (
    <dl class="timing" aria-label="Where the time went">
      {parts.map((part) => (
        <div key={part.name}>
          <dt>{part.name}</dt>
          <dd>
            <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
              <rect class={part.name.toLowerCase()} width={Math.max(part.ms > 0 ? 0.5 : 0, (part.ms / most) * 100)} height="8" rx="1" />
            </svg>
            <span>{duration(part.ms)}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

const CURL = `curl ${location.origin}/v1/run -H 'content-type: application/json' \\
  -d '{"code": "export default { fetch() { console.log(1); return new Response(\\"hi\\") } }"}'`;
