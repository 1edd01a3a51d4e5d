import { useEffect, useState } from 'preact/hooks';

/** A value that several components look at. */
export class Value<T> {
  #now: T;
  #watchers = new Set<(now: T) => void>();

  constructor(first: T) {
    this.#now = first;
  }

  get(): T {
    return this.#now;
  }

  set(next: T): void {
    if (Object.is(next, this.#now)) return;
    this.#now = next;
    for (const watcher of [...this.#watchers]) watcher(next);
  }

  watch(watcher: (now: T) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }
}

/** The value, and a new drawing whenever it changes. */
export function useValue<T>(value: Value<T>): T {
  const [now, set] = useState(() => value.get());
  useEffect(() => {
    set(() => value.get()); // it may have changed between drawing and here
    return value.watch((next) => set(() => next));
  }, [value]);
  return now;
}
