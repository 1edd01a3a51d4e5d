// Speaks to the HTTP API: the token, errors as problems, and whether the server answers at all.
import { Value } from './value';

/** application/problem+json, as every error of the API is. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  column?: number;
  outcome?: string;
  error?: { name: string; message: string; stack?: string };
}

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** The server could not be reached. */
export class LostError extends Error {}

/** Whether the server answers. */
export const reachable = new Value(true);
/** Whether it asks for a token, or another one than we have. */
export const wantsToken = new Value(false);
/** Counts up whenever everything that failed should be asked again. */
export const again = new Value(0);

const TOKEN = 'otelbridge-token';

export function giveToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
  wantsToken.set(false);
  again.set(again.get() + 1);
}

/** A request with the token. Throws ApiError, LostError, or AbortError when `signal` fires. */
export async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set('authorization', `Bearer ${token}`);
  let answer: Response;
  try {
    answer = await fetch(path, { ...options, headers, cache: 'no-store' });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    lost();
    throw new LostError('The server does not answer.');
  }
  reachable.set(true);
  if (answer.status === 401) wantsToken.set(true);
  if (!answer.ok) throw new ApiError(await problemOf(answer));
  return answer;
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    return (await answer.json()) as Problem;
  } catch {
    return { type: '', title: answer.statusText, status: answer.status, detail: `The server answered with status ${answer.status}.` };
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, { signal: signal ?? null })).json()) as T;
}

/** A body as JSON; the answer as JSON, or undefined when it has none. */
export async function send<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, signal: signal ?? null };
  if (body !== undefined) Object.assign(init, { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  const answer = await ask(path, init);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

let watching = false;

/** Ask for a sign of life until there is one; then whatever waits is asked again. */
function lost(): void {
  reachable.set(false);
  if (watching) return;
  watching = true;
  let wait = 500;
  const look = async (): Promise<void> => {
    try {
      await fetch('/healthz', { cache: 'no-store' });
      watching = false;
      reachable.set(true);
      again.set(again.get() + 1);
    } catch {
      wait = Math.min(wait * 1.5, 5_000);
      setTimeout(look, wait);
    }
  };
  setTimeout(look, wait);
}
