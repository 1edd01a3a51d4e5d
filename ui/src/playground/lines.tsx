// The lines of a run, out of the live stream or, when that had no time, out of the answer.
import { useEffect, useRef } from 'preact/hooks';
import { duration, shown } from '../core/format';
import type { Level, TraceLog } from '../core/types';
import { LevelBadge } from '../parts/parts';
import { loggedStacks, Stack } from '../parts/stack';
import type { Run } from './run';

export interface Line {
  key: string;
  timeMs: number;
  level: Level;
  text: string;
  stack: string | undefined;
}

export function linesOf(run: Run): Line[] {
  const streamed = run.records.filter((record) => record.kind === 'log' || record.kind === 'exception');
  const logs = run.trace?.logs ?? run.result?.logs ?? [];
  const thrown = run.result?.exceptions ?? [];
  if (streamed.length >= logs.length + thrown.length)
    return streamed.map((record) => ({
      key: record.id,
      timeMs: Number(BigInt(record.timeUnixNano) / 1_000n) / 1_000,
      level: record.level,
      text: record.exception ? `${record.exception.type}: ${record.exception.message}` : record.text,
      stack: record.exception?.stack ?? loggedStacks(record.errorInfo)[0],
    }));
  return [...logs.map(ofLog), ...thrown.map((one, n) => ({ key: `e${n}`, timeMs: one.timestamp, level: 'error' as const, text: `${one.name}: ${one.message}`, stack: one.stack }))].sort(
    (a, b) => a.timeMs - b.timeMs,
  );
}

const ofLog = (log: TraceLog, n: number): Line => ({
  key: `l${n}`,
  timeMs: log.timestamp,
  level: log.level,
  text: log.message.map(shown).join(' '),
  stack: loggedStacks(log.errorInfo)[0],
});

interface Props {
  lines: Line[];
  since: number;
  files: string[];
  reveal(file: string, line: number, column: number): void;
}

export function LogLines({ lines, since, files, reveal }: Props) {
  const box = useRef<HTMLOListElement>(null);
  useEffect(() => {
    // Follow the end unless somebody has scrolled away from it.
    const list = box.current;
    if (list && list.scrollHeight - list.scrollTop - list.clientHeight < 80) list.scrollTop = list.scrollHeight;
  }, [lines.length]);
  if (!lines.length) return <p class="waiting">No line yet.</p>;
  return (
    <ol class="lines" ref={box} tabIndex={0} aria-label="Log lines">
      {lines.map((line) => (
        <li key={line.key} class={line.level}>
          <span class="offset">+{duration(Math.max(0, line.timeMs - since))}</span>
          <LevelBadge level={line.level} />
          <div>
            <pre>{line.text}</pre>
            {line.stack && <Stack text={line.stack} files={files} open={reveal} />}
          </div>
        </li>
      ))}
    </ol>
  );
}
