// Counts of invocations over time, by worker or version.
import { send } from '../core/api';
import { quoted } from '../core/search';
import type { CalculationRow, QueryAnswer } from '../core/types';
import { niceBucket } from '../logs/histogram';
import type { Series } from '../parts/chart';

export interface Rates {
  times: number[];
  bucketMs: number;
  /** By group: per bucket. */
  all: Map<string, number[]>;
  failed: Map<string, number[]>;
  p95: Map<string, number>;
}

/** Invocations of the last `spanMs` by `key`, in about `bars` buckets. */
export async function ratesBy(key: string, q: string, spanMs: number, bars: number, signal?: AbortSignal): Promise<Rates> {
  const until = Date.now();
  const bucketMs = niceBucket(spanMs, bars);
  const first = Math.floor((until - spanMs) / bucketMs) * bucketMs;
  const times: number[] = [];
  for (let time = first; time <= until; time += bucketMs) times.push(time);
  const base = { view: 'calculations', since: first, until, groupBy: [key] };
  const count = [{ operator: 'count', alias: 'n' }];
  const ask = (extra: string, more: object): Promise<QueryAnswer> => send('POST', '/v1/query', { ...base, q: `kind:invocation ${q} ${extra}`, ...more }, signal);
  const [all, failed, p95] = await Promise.all([
    ask('', { calculations: count, bucketMs }),
    ask('level:error', { calculations: count, bucketMs }),
    ask('', { calculations: [{ operator: 'p95', key: 'wallMs', alias: 'p95' }] }),
  ]);
  const lay = (rows: CalculationRow[]): Map<string, number[]> => {
    const found = new Map<string, number[]>();
    for (const row of rows) {
      const group = String(row.groups[key]);
      const values = found.get(group) ?? times.map(() => 0);
      const at = Math.floor((Date.parse(row.time ?? '') - first) / bucketMs);
      if (at >= 0 && at < values.length) values[at] = (values[at] ?? 0) + (row.values['n'] ?? 0);
      found.set(group, values);
    }
    return found;
  };
  return {
    times,
    bucketMs,
    all: lay(all.calculations ?? []),
    failed: lay(failed.calculations ?? []),
    p95: new Map((p95.calculations ?? []).map((row) => [String(row.groups[key]), row.values['p95'] ?? 0])),
  };
}

/** Of these workers those that were called since `first` (ms): a refused deploy leaves a record under its id as well. */
export async function calledOf(ids: string[], first: number, signal: AbortSignal): Promise<Set<string>> {
  const some = ids.slice(0, 50);
  const refused = ['exception', 'exceededCpu', 'exceededMemory', 'exceededWallTime', 'internalError'].map((outcome) => `-text:"load (${outcome})"`);
  const q = `kind:invocation (${some.map((id) => `worker:${quoted(id)}`).join(' OR ')}) ${refused.join(' ')}`;
  const body = { view: 'calculations', q, since: first, groupBy: ['worker'], calculations: [{ operator: 'count' }] };
  const answer = await send<QueryAnswer>('POST', '/v1/query', body, signal);
  return new Set([...(answer.calculations ?? []).map((row) => String(row.groups['worker'])), ...ids.slice(50)]);
}

/** Median and p95 of the duration over the last hour. */
export async function timesOf(q: string, signal: AbortSignal): Promise<{ times: number[]; bucketMs: number; series: Series[] }> {
  const until = Date.now();
  const bucketMs = niceBucket(36e5, 60);
  const first = Math.floor((until - 36e5) / bucketMs) * bucketMs;
  const times: number[] = [];
  for (let time = first; time <= until; time += bucketMs) times.push(time);
  const calculations = ['median', 'p95'].map((operator) => ({ operator, key: 'wallMs', alias: operator }));
  const body = { view: 'calculations', q: `kind:invocation ${q}`, since: first, until, bucketMs, calculations };
  const answer = await send<QueryAnswer>('POST', '/v1/query', body, signal);
  const series = [
    { name: 'median, ms', alias: 'median', colour: '--info' },
    { name: 'p95, ms', alias: 'p95', colour: '--violet' },
  ].map(({ name, alias, colour }) => {
    const values: (number | null)[] = times.map(() => null);
    for (const row of answer.calculations ?? []) {
      const at = Math.floor((Date.parse(row.time ?? '') - first) / bucketMs);
      if (at >= 0 && at < values.length) values[at] = row.values[alias] ?? null;
    }
    return { name, colour, values };
  });
  return { times, bucketMs, series };
}

export const sum = (values: number[] | undefined): number => (values ?? []).reduce((total, value) => total + value, 0);
