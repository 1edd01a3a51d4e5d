// What is wrong, in words, and what to do: out of the loss ledger, the processes and the metrics.
import { bytes, duration, number, plural } from '../core/format';
import type { Account, Exports } from '../core/types';
import { values, type Metric } from './metrics';

export interface Finding {
  kind: 'bad' | 'warn' | 'good';
  says: string;
  advice: string;
}

const SLOW_SECONDS = 30;

export function findingsOf(exports: Exports, metrics: Metric[], notReady: string | null): Finding[] {
  const found: Finding[] = [];
  if (notReady) found.push({ kind: 'bad', says: `The service is not ready: ${notReady}`, advice: 'It answers 503 on /readyz until then. If this lasts, its own log on stderr says why.' });
  for (const one of exports.destinations) found.push(...ofDestination(one));
  found.push(...ofDrops(exports));
  for (const one of exports.damaged)
    found.push({ kind: 'warn', says: `${bytes(one.bytes)} of the spool ${one.spool} can't be read.`, advice: 'A kill or a power cut tore them, or the disk changed them: what stood there is lost. If this grows without either, check the disk of data_dir.' });
  for (const process of exports.processes ?? [])
    if (process.state !== 'running')
      found.push({ kind: 'bad', says: `Process ${process.name} is ${process.state}.`, advice: 'Requests go to the others meanwhile. It is started anew by itself; the log on stderr says why it ended.' });
  const restarts = values(metrics, 'otelbridge_process_restarts_total').filter((one) => one.value > 0);
  for (const one of restarts)
    found.push({ kind: 'warn', says: `Process ${one.labels['process']} was restarted ${plural(one.value, 'time')}.`, advice: 'What it had written to the spool is safe. Look for its last words on stderr, and at memory below.' });
  const queued = values(metrics, 'otelbridge_process_invocations_queued').reduce((sum, one) => sum + one.value, 0);
  if (queued > 0) found.push({ kind: 'warn', says: `${plural(queued, 'invocation')} wait for an instance.`, advice: 'Raise sandbox.max_instances or sandbox.max_per_worker, or add processes, if this does not pass.' });
  const untold = values(metrics, 'otelbridge_spool_untold_drops').reduce((sum, one) => sum + one.value, 0);
  if (untold > 0) found.push({ kind: 'bad', says: `The spool had to leave out ${plural(untold, 'record')}.`, advice: 'The disk is full or spool.max_bytes is reached. Free space or raise the setting.' });
  if (!found.length)
    found.push(
      exports.destinations.length
        ? { kind: 'good', says: 'All is well: every destination takes what it is sent, nothing was lost.', advice: '' }
        : { kind: 'good', says: 'All is well. Nothing is exported, because no destination is set.', advice: 'Logs are kept in the store and shown here. To send them on, set OTEL_EXPORTER_OTLP_ENDPOINT and start again.' },
    );
  return found;
}

function ofDestination(one: Exports['destinations'][number]): Finding[] {
  const found: Finding[] = [];
  const error = one.lastError ? ` It said: ${one.lastError}` : '';
  if (one.state === 'retrying')
    found.push({ kind: 'bad', says: `${one.name} does not take telemetry; it is tried again.${error}`, advice: `Check that ${one.endpoint} is up and can be reached from here. Nothing is lost: it waits in the spool.` });
  if (one.state === 'rejecting')
    found.push({ kind: 'bad', says: `${one.name} refuses what it is sent.${error}`, advice: 'Check its address, protocol and credentials. What it refused is kept as dead letters; send them again below.' });
  if (one.state === 'partial')
    found.push({ kind: 'warn', says: `${one.name} takes only a part of what it is sent.${error}`, advice: 'Its own log says which records it does not like; often they are too large or too old.' });
  if (one.lagSeconds > SLOW_SECONDS && one.state === 'ok')
    found.push({ kind: 'warn', says: `${one.name} is ${duration(one.lagSeconds * 1000)} behind.`, advice: 'It answers, but slower than records come. Give the collector more room, or lower the sampling rate.' });
  return found;
}

/** Why records were dropped, and what helps; without advice it is as somebody has set it. */
const REASONS: Record<string, [string, string]> = {
  sampled: ['the sampling rate left them out', ''],
  filtered: ['no destination takes their worker or level', ''],
  disabled: ['observability is off for them', ''],
  retries_exhausted: ['a destination answered 500 for too long', 'They are dead letters: when it works again, send them again below. export.retry_500_seconds sets how long is tried.'],
  spool_full: ['the spool was full', 'A destination was away for too long, or workers log too much: see its state above, raise spool.max_bytes, or lower the sampling rate.'],
  disk_full: ['the disk was full', 'Free space on the disk of data_dir.'],
  io_error: ['the disk took no more', 'The disk of data_dir fails; the system log says how.'],
  too_large: ['an invocation left more than 64 MiB at once', 'Lower limits.logBytes of that worker.'],
  closed: ['they came after the end', ''],
};

function ofDrops({ total }: Exports): Finding[] {
  const found: Finding[] = [];
  for (const [signal, account] of Object.entries(total) as [string, Account][]) {
    if (account.rejected > 0) found.push({ kind: 'bad', says: `${number(account.rejected)} ${signal} were refused by a destination.`, advice: 'They are dead letters now; the list below says why each was refused.' });
    for (const [reason, count] of Object.entries(account.dropped)) {
      const [why, advice] = REASONS[reason] ?? [reason.replaceAll('_', ' '), 'docs/loss-ledger.md explains the reasons.'];
      found.push({ kind: advice ? 'warn' : 'good', says: `${number(count)} ${signal} were left out: ${why}.`, advice });
    }
  }
  return found;
}
