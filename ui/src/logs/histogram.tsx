// How many records there were when, by level. A drag along it chooses a range of time.
import { useMemo } from 'preact/hooks';
import { get, send } from '../core/api';
import { useEvery, useLoad } from '../core/load';
import { change } from '../core/place';
import { anew, fullQuery, spanOf, type Search } from '../core/search';
import { LEVELS, type QueryAnswer, type Record_ } from '../core/types';
import { Chart, type Series } from '../parts/chart';

const COLOURS = { error: '--error', warn: '--warn', info: '--info', log: '--accent', debug: '--debug' } as const;
const NICE = [1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 144e5, 432e5, 864e5, 6048e5];
const BARS = 90;

/** A bucket that divides a span into about `bars` parts, of a length that people use. */
export const niceBucket = (spanMs: number, bars = BARS): number => NICE.find((ms) => spanMs / ms <= bars) ?? 6048e5 * Math.ceil(spanMs / 6048e5 / bars);

interface Counted {
  times: number[];
  bucketMs: number;
  series: Series[];
}

export function Histogram({ search, live }: { search: Search; live: boolean }) {
  const shown = live ? { ...search, since: '15m', until: '' } : search;
  const q = fullQuery(search);
  const { data, reload } = useLoad(`${q}|${shown.since}|${shown.until}`, (signal) => count(shown, q, signal));
  useEvery(live ? 3_000 : null, reload);
  const chart = useMemo(() => data, [data]);
  return (
    <div class="histogram">
      {chart && (
        <Chart
          kind="bars"
          times={chart.times}
          bucketMs={chart.bucketMs}
          series={chart.series}
          height={84}
          label="Records over time, by level"
          select={(since, until) => change(anew({ since: String(since), until: String(until), live: null }))}
        />
      )}
    </div>
  );
}

async function count(search: Search, q: string, signal: AbortSignal): Promise<Counted> {
  const { since, until } = spanOf(search);
  const begin = since ?? (await oldest(q, signal)) ?? until - 36e5;
  const bucketMs = niceBucket(Math.max(1_000, until - begin));
  const first = Math.floor(begin / bucketMs) * bucketMs;
  const body = { view: 'calculations', q, since: begin, until, bucketMs, groupBy: ['level'], calculations: [{ operator: 'count', alias: 'n' }] };
  const answer = await send<QueryAnswer>('POST', '/v1/query', body, signal);
  const times: number[] = [];
  for (let time = first; time <= until; time += bucketMs) times.push(time);
  const series = LEVELS.map((level) => ({ name: level, colour: COLOURS[level], values: times.map(() => 0) }));
  for (const row of answer.calculations ?? []) {
    const at = Math.floor((Date.parse(row.time ?? '') - first) / bucketMs);
    const one = series.find((some) => some.name === row.groups['level']);
    if (one && at >= 0 && at < times.length) one.values[at] = (one.values[at] ?? 0) + (row.values['n'] ?? 0);
  }
  return { times, bucketMs, series: series.reverse() };
}

async function oldest(q: string, signal: AbortSignal): Promise<number | null> {
  const page = await get<{ logs: Record_[] }>(`/v1/logs?${new URLSearchParams({ ...(q ? { q } : {}), order: 'asc', limit: '1' })}`, signal);
  return page.logs[0] ? Date.parse(page.logs[0].time) : null;
}
