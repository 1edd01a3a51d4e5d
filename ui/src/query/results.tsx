import { useMemo } from 'preact/hooks';
import { number, shown } from '../core/format';
import { fullQuery, narrowed, spanOf } from '../core/search';
import { address } from '../core/place';
import type { CalculationRow, QueryAnswer } from '../core/types';
import { Chart, type Series } from '../parts/chart';
import { bucketOf, calcText, whole, type Question } from './question';

const COLOURS = ['--accent', '--info', '--violet', '--warn', '--error', '--good', '--debug', '#b5539c', '#4a90a4', '#8f7a3a'];

const groupText = (row: CalculationRow): string => Object.values(row.groups).map((value) => (value === null ? '(none)' : shown(value))).join(' · ');

/** The first calculation over time for the groups that lead the table; without groups every calculation. */
export function ResultChart({ question, answer, top }: { question: Question; answer: QueryAnswer; top: CalculationRow[] }) {
  const drawn = useMemo(() => {
    const { since, until } = spanOf(question.search);
    const bucketMs = bucketOf(since, until);
    const rows = answer.calculations ?? [];
    const stamps = rows.map((row) => Date.parse(row.time ?? ''));
    const begin = Math.floor((since ?? Math.min(until, ...stamps)) / bucketMs) * bucketMs;
    const times: number[] = [];
    for (let time = begin; time <= until && times.length < 2_000; time += bucketMs) times.push(time);
    const names = whole(question.calculations).map(calcText);
    const grouped = question.groupBy.length > 0;
    const wanted = grouped ? top.slice(0, COLOURS.length).map(groupText) : names;
    const empty = (name: string): number | null => (/^(count|sum)/.test(name) ? 0 : null);
    const lines = wanted.flatMap((name, n): Series[] => {
      const alias = grouped ? names[0]! : name;
      const one = (dashed: boolean): Series => ({
        name: dashed ? `${name}, before` : name,
        colour: COLOURS[n % COLOURS.length]!,
        values: times.map(() => empty(alias)),
        dashed,
      });
      const now = one(false);
      const before = one(true);
      rows.forEach((row, m) => {
        const at = Math.round((stamps[m]! - begin) / bucketMs);
        if (at < 0 || at >= times.length || (grouped && groupText(row) !== name)) return;
        now.values[at] = row.values[alias] ?? null;
        before.values[at] = row.previous?.[alias] ?? empty(alias);
      });
      return question.compare && question.chart === 'line' ? [now, before] : [now];
    });
    return { times, bucketMs, lines };
  }, [answer, top, question.chart]);
  return (
    <Chart
      kind={question.chart === 'bars' ? 'bars' : 'line'}
      times={drawn.times}
      bucketMs={drawn.bucketMs}
      series={drawn.lines}
      height={260}
      label={`${whole(question.calculations).map(calcText).join(', ')} over time`}
      legend
    />
  );
}

export function ResultTable({ question, rows }: { question: Question; rows: CalculationRow[] }) {
  const names = whole(question.calculations).map(calcText);
  const most = Math.max(0, ...rows.map((row) => row.values[names[0]!] ?? 0));
  return (
    <div class="table-box">
      <table>
        <thead>
          <tr>
            {question.groupBy.map((key) => (
              <th key={key}>{key}</th>
            ))}
            {names.map((name) => (
              <th key={name} class="right">
                {name}
              </th>
            ))}
            {question.compare && <th class="right">before</th>}
            <th>
              <span class="unseen">Records</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, n) => (
            <tr key={n}>
              {question.groupBy.map((key) => (
                <td key={key} class="wide">
                  {row.groups[key] === null ? <span class="muted">(none)</span> : shown(row.groups[key])}
                </td>
              ))}
              {names.map((name, m) => (
                <td key={name} class="right">
                  {number(row.values[name])}
                  {m === 0 && most > 0 && question.groupBy.length > 0 && (
                    <span class="mini-bar" aria-hidden="true">
                      <span style={{ width: `${((row.values[name] ?? 0) / most) * 100}%` }} />
                    </span>
                  )}
                </td>
              ))}
              {question.compare && <td class="right">{before(row, names[0]!)}</td>}
              <td>
                <a href={recordsOf(question, row)}>Records</a>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function before(row: CalculationRow, name: string): string {
  const was = row.previous?.[name] ?? null;
  const is = row.values[name] ?? null;
  if (was === null || is === null) return '–';
  const part = was ? `${is >= was ? '+' : '−'}${Math.abs(((is - was) / was) * 100).toFixed(0)} %` : 'new';
  return `${number(was)} (${part})`;
}

/** The records behind a row, as a search. */
function recordsOf(question: Question, row: CalculationRow): string {
  const known = /^(kind|level|worker|version|invocation|trace|outcome|method|path|url|status|exception)$/;
  let q = fullQuery(question.search);
  for (const [key, value] of Object.entries(row.groups)) if (value !== null) q = narrowed(q, key.replace(/^fields\./, ''), value, false, !known.test(key));
  return address('/logs', { q, since: question.search.since, until: question.search.until });
}
