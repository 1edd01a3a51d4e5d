// One run: follow its logs by the id of its trace, which this page chooses, so that two runs of the same code never mix.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { get, send } from '../core/api';
import { follow } from '../core/stream';
import type { Record_, RunResult, TraceItem } from '../core/types';
import { codeOf, headersOf, type Program } from './program';

export interface Run {
  state: 'idle' | 'running' | 'finishing' | 'done';
  startedAt: number;
  /** As they happen. */
  records: Record_[];
  missed: number;
  result?: RunResult;
  trace?: TraceItem;
  error?: Error;
}

const IDLE: Run = { state: 'idle', startedAt: 0, records: [], missed: 0 };
const WORKER = 'otelbridge-playground';
const ENOUGH = 5_000;

const hex = (bytes: number): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** The id under which runs of this tab are found in the logs. */
export function ownWorkerId(): string {
  let id = sessionStorage.getItem(WORKER);
  if (!id) sessionStorage.setItem(WORKER, (id = `playground-${hex(4)}`));
  return id;
}

export function useRun(): { run: Run; start(program: Program): void; stop(): void } {
  const [run, set] = useState<Run>(IDLE);
  const end = useRef<() => void>(() => undefined);
  useEffect(() => () => end.current(), []);

  const start = useCallback((program: Program) => {
    end.current();
    const abort = new AbortController();
    let unfollow = (): void => undefined;
    let current: Run = { ...IDLE, state: 'running', startedAt: Date.now() };
    const update = (changes: Partial<Run>): void => {
      if (!abort.signal.aborted) set((current = { ...current, ...changes }));
    };
    end.current = () => {
      unfollow();
      abort.abort();
    };
    set(current);
    try {
      const code = codeOf(program);
      const { method, path, headers, body } = program.request;
      const traceId = hex(16);
      const traced: [string, string][] = [...headersOf(headers), ['traceparent', `00-${traceId}-${hex(8)}-01`]];
      const request = { method, url: path || '/', headers: traced, ...(body && !/^(GET|HEAD)$/.test(method) ? { body } : {}) };
      const finish = async (invocationId: string | undefined): Promise<void> => {
        update({ state: 'done' });
        // What the stream has not brought yet comes within a moment.
        setTimeout(unfollow, 1_500);
        // The stored trace has its times in full.
        const trace = invocationId && (await stored(invocationId, abort.signal));
        if (trace) update({ trace });
      };
      const go = (): void => {
        go.once = true;
        send<RunResult>('POST', '/v1/run', { code, workerId: ownWorkerId(), request, timeoutMs: 300 }, abort.signal)
          .then((result) => {
            update({ result, ...(result.trace ? { trace: result.trace } : {}), state: 'finishing' });
            const last = current.records.find((record) => record.kind === 'invocation');
            if (result.logsState !== 'partial' || last) void finish(result.trace?.invocationId ?? last?.invocationId);
          })
          .catch((error: Error) => {
            unfollow();
            update({ error, state: 'done' });
          });
      };
      go.once = false;
      unfollow = follow(new URLSearchParams({ worker: ownWorkerId() }), {
        records(found) {
          const own = found.filter((record) => record.traceId === traceId);
          if (!own.length) return;
          const room = Math.max(0, ENOUGH - current.records.length);
          update({ records: [...current.records, ...own.slice(0, room)], missed: current.missed + Math.max(0, own.length - room) });
          const last = own.find((record) => record.kind === 'invocation');
          if (last && current.state === 'finishing') void finish(last.invocationId);
        },
        gap: (missed) => update({ missed: current.missed + (missed ?? 1) }),
        // Following begins before the code does, so that its first line is seen; without a stream it runs all the same.
        state: (state) => state !== 'connecting' && !go.once && go(),
      });
    } catch (error) {
      update({ error: error as Error, state: 'done' });
    }
  }, []);

  const stop = useCallback(() => {
    end.current();
    set((before) => (before.state === 'done' ? before : { ...before, state: 'done', error: new Error('You stopped waiting for this run.') }));
  }, []);
  return { run, start, stop };
}

/** The trace item of an invocation, as soon as the store has it. */
async function stored(id: string, signal: AbortSignal): Promise<TraceItem | undefined> {
  for (let attempt = 1; attempt <= 10; attempt++) {
    await new Promise((done) => setTimeout(done, 150 * attempt));
    try {
      const item = await get<TraceItem>(`/v1/invocations/${id}`, signal);
      if (item.outcome) return item;
    } catch {
      if (signal.aborted) return undefined;
    }
  }
  return undefined;
}
