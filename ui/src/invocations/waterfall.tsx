// Where the time of one invocation went, with its log lines on the same axis.
import { duration } from '../core/format';
import type { Level } from '../core/types';
import { barsOf } from './spans';
import type { TraceItem } from '../core/types';

export interface Tick {
  key: string;
  ms: number;
  level: Level;
  text: string;
}

export function Waterfall({ item, ticks, pick }: { item: TraceItem; ticks: Tick[]; pick(key: string): void }) {
  const { bars, total: ended } = barsOf(item);
  const total = Math.max(ended, ...ticks.map((tick) => tick.ms));
  const percent = (ms: number): number => Math.min(100, Math.max(0, (ms / total) * 100));
  const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => part * total);
  return (
    <div class="waterfall">
      <div class="wf-row wf-axis" aria-hidden="true">
        <span />
        <div class="wf-lane">
          {marks.map((ms, n) => (
            <span key={n} class={n === 4 ? 'last' : ''} style={{ left: `${percent(ms)}%` }}>
              {duration(ms)}
            </span>
          ))}
        </div>
      </div>
      <ul aria-label="Parts of the invocation">
        {bars.map((bar) => (
          <li key={bar.key} class="wf-row" title={bar.note}>
            <span class="wf-name" style={{ paddingLeft: `${bar.depth * 12}px` }}>
              {bar.name}
            </span>
            <div class="wf-lane">
              <span
                class={`wf-bar ${bar.kind} ${bar.failed ? 'failed' : ''} ${bar.end === null ? 'open' : ''}`}
                style={{ left: `${percent(bar.start)}%`, width: `${Math.max(0.25, percent(bar.end ?? total) - percent(bar.start))}%` }}
              />
              <span class={`wf-time ${percent(bar.start) > 60 ? 'before' : ''}`} style={percent(bar.start) > 60 ? { right: `${100 - percent(bar.start)}%` } : { left: `${percent(bar.start)}%` }}>
                {bar.end === null ? 'never closed' : duration(bar.end - bar.start)} {bar.note && bar.kind !== 'run' && <i>{bar.note}</i>}
              </span>
            </div>
          </li>
        ))}
      </ul>
      {ticks.length > 0 && (
        <div class="wf-row wf-logs">
          <span class="wf-name">logs</span>
          <div class="wf-lane">
            {ticks.slice(0, 500).map((tick) => (
              <button
                key={tick.key}
                class={`wf-tick ${tick.level}`}
                style={{ left: `${percent(tick.ms)}%` }}
                title={`+${duration(tick.ms)} ${tick.text.slice(0, 200)}`}
                aria-label={`${tick.level} after ${duration(tick.ms)}: ${tick.text.slice(0, 80)}`}
                tabIndex={-1}
                onClick={() => pick(tick.key)}
              />
            ))}
          </div>
        </div>
      )}
    </div>
  );
}
