// A chart over time: uPlot in the colours of the theme. Bars are stacked; a drag along the axis chooses a range.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { number } from '../core/format';
import { isDark } from '../core/theme';
import { useValue } from '../core/value';

export interface Series {
  name: string;
  /** A custom property of the style sheet, or a colour. */
  colour: string;
  values: (number | null)[];
  dashed?: boolean;
}

interface Props {
  kind: 'bars' | 'line';
  /** Beginnings of the buckets, ms since 1970. */
  times: number[];
  bucketMs: number;
  series: Series[];
  height: number;
  label: string;
  legend?: boolean;
  select?(since: number, until: number): void;
}

/** Steps between ticks where a half has no meaning. */
const WHOLE = Array.from({ length: 12 }, (_, n) => [1, 2, 5].map((step) => step * 10 ** n)).flat();

const bars = uPlot.paths.bars!({ size: [0.9, 64], align: 1 });

export function Chart(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const dark = useValue(isDark);
  const latest = useRef(props);
  latest.current = props;
  const { kind, times, series, height, bucketMs, legend } = props;

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => resolve(element, name.startsWith('--') ? `var(${name})` : name);
    const axis: uPlot.Axis = {
      stroke: colour('--muted'),
      font: `11px ${style.getPropertyValue('--font') || 'sans-serif'}`,
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { stroke: colour('--line'), width: 1, size: 4 },
    };
    const days = times.at(-1)! - times[0]! > 1.5 * 864e5;
    const counts = series.every((one) => one.values.every((value) => value === null || Number.isInteger(value)));
    const stacked = kind === 'bars' ? stack(series.map((one) => one.values)) : series.map((one) => one.values);
    const options: uPlot.Options = {
      width: element.clientWidth || 300,
      height,
      ms: 1,
      padding: [6, 8, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: Boolean(latest.current.select), y: false, setScale: false }, points: { show: kind === 'line' } },
      scales: {
        x: { time: true, range: (_, low, high) => [low, Math.max(high, low + bucketMs) + (kind === 'bars' ? bucketMs : 0)] },
        y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 1) > 0 ? high * 1.05 : 1] },
      },
      axes: [
        { ...axis, size: 26, space: 70, values: (_, ticks) => ticks.map((ms) => label(ms, bucketMs, days)) },
        { ...axis, size: 48, space: 26, ...(counts ? { incrs: WHOLE } : {}), values: (_, ticks) => ticks.map((n) => number(n)) },
      ],
      series: [
        {},
        ...series.map(
          (one): uPlot.Series => ({
            label: one.name,
            stroke: colour(one.colour),
            ...(kind === 'bars' ? { fill: colour(one.colour), paths: bars, width: 0 } : { width: 1.6, spanGaps: true }),
            ...(one.dashed ? { dash: [4, 4] } : {}),
            // A value without neighbours has no line: few values are seen by their points alone.
            points: { show: kind === 'line' && one.values.filter((value) => value !== null).length < 40, size: 7, fill: colour(one.colour) },
          }),
        ),
      ],
      hooks: {
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            latest.current.select?.(Math.floor(plot.posToVal(left, 'x')), Math.ceil(plot.posToVal(left + width, 'x')));
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          },
        ],
        setCursor: [(plot) => tell(element, latest.current, plot.cursor.idx ?? null, plot.cursor.left ?? 0)],
      },
    };
    // What is stacked highest is drawn first, so that each bar shows its own part.
    const order = kind === 'bars' ? series.map((_, n) => series.length - 1 - n) : series.map((_, n) => n);
    options.series = [options.series[0]!, ...order.map((n) => options.series[n + 1]!)];
    const plot = new uPlot(options, [times, ...order.map((n) => stacked[n]!)] as uPlot.AlignedData, element);
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [kind, times, series, height, bucketMs, dark]);

  return (
    <figure class="chart">
      <div class="chart-host" ref={host} role="img" aria-label={`${props.label}. ${spoken(props)}`} />
      <div class="chart-tip" hidden />
      {legend && series.length > 1 && (
        <figcaption>
          {series.map((one) => (
            <span key={one.name}>
              <svg viewBox="0 0 10 10" aria-hidden="true">
                <rect width="10" height="10" rx="2" style={{ fill: one.colour.startsWith('--') ? `var(${one.colour})` : one.colour }} opacity={one.dashed ? 0.5 : 1} />
              </svg>
              {one.name}
            </span>
          ))}
        </figcaption>
      )}
    </figure>
  );
}

function stack(layers: (number | null)[][]): number[][] {
  const sums: number[] = [];
  return layers.map((values) => values.map((value, n) => (sums[n] = (sums[n] ?? 0) + (value ?? 0))));
}

/** A colour of the style sheet as a canvas understands it. */
function resolve(element: HTMLElement, colour: string): string {
  element.style.color = colour;
  const found = getComputedStyle(element).color;
  element.style.color = '';
  return found;
}

function label(ms: number, bucketMs: number, days: boolean): string {
  const date = new Date(ms);
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (bucketMs < 60_000) return `${time}:${two(date.getSeconds())}`;
  return days && date.getHours() + date.getMinutes() === 0 ? `${two(date.getMonth() + 1)}-${two(date.getDate())}` : time;
}

/** What the pointer is on, in a box beside it. */
function tell(element: HTMLElement, { times, series }: Props, at: number | null, left: number): void {
  const tip = element.nextElementSibling as HTMLElement;
  tip.hidden = at === null || left < 0;
  if (at === null || times[at] === undefined) return;
  const lines = series.filter((one) => one.values[at]).map((one) => `${one.name}: ${number(one.values[at])}`);
  tip.textContent = [`${new Date(times[at]).toLocaleString()}`, ...lines].join('\n');
  tip.style.left = `${Math.min(left + 56, element.clientWidth - 150)}px`;
}

function spoken({ series }: Props): string {
  return series.map((one) => `${one.name}: ${number(one.values.reduce<number>((sum, value) => sum + (value ?? 0), 0))} in all`).join(', ');
}
