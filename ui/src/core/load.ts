import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { again, LostError } from './api';
import { useValue } from './value';

export interface Loaded<T> {
  /** Of the last load that worked, also while the next one runs. */
  data: T | undefined;
  error: Error | undefined;
  loading: boolean;
  /** When the load that runs began, ms since 1970. */
  since: number;
  reload(): void;
}

/** Load data, again when `key` changes, when the server is back, or on reload(). A key of null loads nothing. */
export function useLoad<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, set] = useState<{ key: string | null; data?: T; error?: Error; loading: boolean; since: number }>({
    key: null,
    loading: key !== null,
    since: Date.now(),
  });
  const [turn, setTurn] = useState(0);
  const round = useValue(again);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    set((before) => ({ ...before, loading: true, since: Date.now() }));
    latest
      .current(stop.signal)
      .then((data) => !stop.signal.aborted && set({ key, data, loading: false, since: 0 }))
      .catch((error: Error) => {
        if (stop.signal.aborted) return;
        // What was shown stays while the server is away; a banner says that it is.
        const keep = error instanceof LostError;
        set((before) => ({ key, ...(keep && before.data !== undefined ? { data: before.data } : { error }), loading: false, since: 0 }));
      });
    return () => stop.abort();
  }, [key, turn, round]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  return { data: state.data, error: state.error, loading: state.loading, since: state.since, reload };
}

/** Call `tick` every so often while the page is looked at. */
export function useEvery(ms: number | null, tick: () => void): void {
  const latest = useRef(tick);
  latest.current = tick;
  useEffect(() => {
    if (ms === null) return;
    const timer = setInterval(() => document.visibilityState === 'visible' && latest.current(), ms);
    return () => clearInterval(timer);
  }, [ms]);
}
