// The bars of a waterfall, out of a stored trace item. Times in ms from the invocation's beginning.
import type { TraceItem } from '../core/types';

export interface Bar {
  key: string;
  name: string;
  kind: 'invocation' | 'queue' | 'load' | 'run' | 'subrequest' | 'span' | 'tail' | 'export';
  depth: number;
  start: number;
  /** Null when it was never closed. */
  end: number | null;
  /** In place of "never closed". */
  open?: string;
  failed?: boolean;
  note?: string;
}

export function barsOf(item: TraceItem): { bars: Bar[]; total: number } {
  const zero = BigInt(item.timing?.startTimeUnixNano ?? `${item.eventTimestamp}000000`);
  const from = (nanos: string): number => Number(BigInt(nanos) - zero) / 1e6;
  const timing = item.timing;
  const end = timing?.endTimeUnixNano ? from(timing.endTimeUnixNano) : null;
  const bars: Bar[] = [{ key: 'all', name: 'invocation', kind: 'invocation', depth: 0, start: 0, end, failed: item.outcome !== undefined && item.outcome !== 'ok' }];
  const queued = timing?.queueMs ?? 0;
  if (queued > 0) bars.push({ key: 'queue', name: 'wait for an instance', kind: 'queue', depth: 1, start: 0, end: queued });
  let ready = queued;
  if (timing?.load) {
    const { startTimeUnixNano, endTimeUnixNano, compileMs } = timing.load;
    const start = from(startTimeUnixNano);
    ready = from(endTimeUnixNano);
    if (compileMs > 0) bars.push({ key: 'compile', name: 'compile', kind: 'load', depth: 1, start, end: start + compileMs });
    bars.push({ key: 'start', name: 'load and start', kind: 'load', depth: 1, start: start + compileMs, end: ready, note: 'cold start' });
  }
  bars.push({ key: 'run', name: 'run', kind: 'run', depth: 1, start: ready, end, ...(timing?.cpuMs === undefined ? {} : { note: `${timing.cpuMs.toFixed(2)} ms of CPU` }) });
  const inner = [...spansOf(item, from), ...subrequestsOf(item, from)];
  const place = (parent: number, depth: number): void => {
    // A span that names itself as its parent, or a circle, would never end: each is placed once.
    for (const one of inner.filter((bar) => bar.parent === parent && !bar.placed).sort((a, b) => a.start - b.start)) {
      one.placed = true;
      bars.push({ ...one, depth });
      if (one.number) place(one.number, depth + 1);
    }
  };
  place(0, 2);
  for (const left of inner.filter((bar) => !bar.placed)) bars.push({ ...left, depth: 2 });
  const total = Math.max(end ?? 0, ...bars.map((bar) => Math.max(bar.start, bar.end ?? 0)), 0.001);
  return { bars, total };
}

type Inner = Omit<Bar, 'depth'> & { parent: number; number: number; placed?: boolean };

function spansOf(item: TraceItem, from: (nanos: string) => number): Inner[] {
  return (item.spans ?? []).map((span) => ({
    key: `span${span.number}`,
    name: span.name,
    kind: 'span' as const,
    start: from(span.startTimeUnixNano),
    end: span.endTimeUnixNano ? from(span.endTimeUnixNano) : null,
    parent: span.parent,
    number: span.number,
    note: Object.entries(span.attributes ?? {})
      .map(([name, value]) => `${name}=${String(value)}`)
      .join(' '),
  }));
}

function subrequestsOf(item: TraceItem, from: (nanos: string) => number): Inner[] {
  return item.subrequests.map((one, n) => {
    const start = from(item.timing?.subrequestStarts?.[n] ?? `${one.timestamp}000000`);
    return {
      key: `sub${n}`,
      name: `${one.method} ${one.url}`,
      kind: 'subrequest' as const,
      start,
      end: start + one.durationMs,
      failed: one.error !== undefined || (one.status ?? 0) >= 500,
      parent: 0,
      number: 0,
      note: one.error ?? (one.status === undefined ? one.kind : String(one.status)),
    };
  });
}
