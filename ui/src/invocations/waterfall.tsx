// Where the time of one invocation went, with its log lines on the same axis; below, what became of its records.
import type { ComponentChildren } from 'preact';
import { duration } from '../core/format';
import type { Level, TraceItem } from '../core/types';
import { afterOf, type After } from './after';
import { barsOf, type Bar } from './spans';

export interface Tick {
  key: string;
  ms: number;
  level: Level;
  text: string;
}

export function Waterfall({ item, ticks, pick }: { item: TraceItem; ticks: Tick[]; pick(key: string): void }) {
  const { bars, total: ended } = barsOf(item);
  const total = Math.max(ended, ...ticks.map((tick) => tick.ms));
  const after = afterOf(item, Date.now());
  return (
    <div class="waterfall">
      <Axis total={total} />
      <ul aria-label="Parts of the invocation">
        {bars.map((bar) => (
          <BarRow key={bar.key} bar={bar} total={total} />
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
                style={{ left: `${percentOf(tick.ms, total)}%` }}
                title={`+${duration(tick.ms)} ${tick.text.slice(0, 200)}`}
                aria-label={`${tick.level} after ${duration(tick.ms)}: ${tick.text.slice(0, 80)}`}
                tabIndex={-1}
                onClick={() => pick(tick.key)}
              />
            ))}
          </div>
        </div>
      )}
      {after && (
        <section class="wf-after" aria-labelledby="wf-after">
          {/* An axis of its own: most of it takes as long as a batch waits, which would leave no room for the run. */}
          <Axis total={after.total}>
            <h3 id="wf-after">after its end</h3>
          </Axis>
          <ul aria-labelledby="wf-after">
            {after.rows.map((row) => (
              <AfterRow key={row.key} row={row} total={after.total} />
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}

const percentOf = (ms: number, total: number): number => Math.min(100, Math.max(0, (ms / total) * 100));

function Axis({ total, children }: { total: number; children?: ComponentChildren }) {
  return (
    <div class="wf-row wf-axis">
      {children ?? <span />}
      <div class="wf-lane" aria-hidden="true">
        {[0, 0.25, 0.5, 0.75, 1].map((part, n) => (
          <span key={n} class={n === 4 ? 'last' : ''} style={{ left: `${part * 100}%` }}>
            {duration(part * total)}
          </span>
        ))}
      </div>
    </div>
  );
}

function BarRow({ bar, total }: { bar: Bar; total: number }) {
  const start = percentOf(bar.start, total);
  const before = start > 60;
  return (
    <li class="wf-row" title={bar.note}>
      <span class="wf-name" style={{ paddingLeft: `${bar.depth * 12}px` }}>
        {bar.name}
      </span>
      <div class="wf-lane">
        <span
          class={`wf-bar ${bar.kind} ${bar.failed ? 'failed' : ''} ${bar.end === null ? 'open' : ''}`}
          style={{ left: `${start}%`, width: `${Math.max(0.25, percentOf(bar.end ?? total, total) - start)}%` }}
        />
        <span class={`wf-time ${before ? 'before' : ''}`} style={before ? { right: `${100 - start}%` } : { left: `${start}%` }}>
          {bar.end === null ? (bar.open ?? 'never closed') : duration(bar.end - bar.start)} {bar.note && bar.kind !== 'run' && <i>{bar.note}</i>}
        </span>
      </div>
    </li>
  );
}

function AfterRow({ row, total }: { row: After; total: number }) {
  if ('kind' in row) return <BarRow bar={row} total={total} />;
  return (
    <li class="wf-row">
      <span class="wf-name">{row.name}</span>
      <div class="wf-lane">
        <span class="wf-time">
          <i>{row.words}</i>
        </span>
      </div>
    </li>
  );
}
