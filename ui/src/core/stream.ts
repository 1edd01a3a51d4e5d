// Live tail: server-sent events read through fetch(), because EventSource can't send the token.
import { again, ApiError, ask } from './api';
import type { Record_ } from './types';

export type TailState = 'connecting' | 'live' | 'lost' | 'ended';

export interface Watcher {
  records(records: Record_[]): void;
  /** Records that this view did not get; null when nobody can tell how many. */
  gap(missed: number | null): void;
  state(state: TailState, problem?: string): void;
}

/** Follow /v1/tail until the returned function is called. Reconnects by itself, from where it was. */
export function follow(params: URLSearchParams, watcher: Watcher): () => void {
  const stop = new AbortController();
  void run(params, watcher, stop.signal);
  return () => stop.abort();
}

async function run(params: URLSearchParams, watcher: Watcher, signal: AbortSignal): Promise<void> {
  const last = { id: '' };
  let wait = 500;
  watcher.state('connecting');
  while (!signal.aborted) {
    try {
      const headers: HeadersInit = last.id ? { 'last-event-id': last.id } : {};
      const answer = await ask(`/v1/tail?${params}`, { headers, signal });
      watcher.state('live');
      wait = 500;
      await read(answer.body!.getReader(), last, watcher);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.problem.status === 401) {
        await tokenGiven(signal);
        continue;
      }
      if (error instanceof ApiError && error.problem.status < 500) return watcher.state('ended', error.message);
    }
    if (signal.aborted) return;
    watcher.state('lost');
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, 8_000);
  }
}

/** Wait until somebody has given another token. */
function tokenGiven(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const unwatch = again.watch(() => {
      unwatch();
      done();
    });
    signal.addEventListener('abort', () => {
      unwatch();
      done();
    });
  });
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>, last: { id: string }, watcher: Watcher): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split('\n\n');
    rest = blocks.pop()!;
    const records: Record_[] = [];
    for (const block of blocks) {
      const event = parse(block);
      if (event.name === 'gap') watcher.gap((JSON.parse(event.data) as { missed: number | null }).missed);
      else if (event.data) records.push(JSON.parse(event.data) as Record_);
      if (event.id) last.id = event.id;
    }
    if (records.length) watcher.records(records);
  }
}

function parse(block: string): { name: string; data: string; id: string } {
  const event = { name: 'message', data: '', id: '' };
  for (const line of block.split('\n')) {
    if (line.startsWith('data: ')) event.data += line.slice(6);
    else if (line.startsWith('event: ')) event.name = line.slice(7);
    else if (line.startsWith('id: ')) event.id = line.slice(4);
  }
  return event;
}
