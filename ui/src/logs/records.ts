// The records that the list shows: pages of the store, older ones as one scrolls, and live ones on top.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { again, get } from '../core/api';
import { fullQuery, requestOf, type Search } from '../core/search';
import { follow, type TailState } from '../core/stream';
import type { Record_ } from '../core/types';
import { useValue } from '../core/value';

/** More than this is not kept; the oldest go first. */
export const MOST = 100_000;
const FIRST = 200;
const NEXT = 1_000;
const LATE = 5_000;

export class Records {
  /** Oldest first: new ones are added at the end without moving the others. */
  items: Record_[] = [];
  /** Arrived while the list was paused. */
  waiting: Record_[] = [];
  loading = true;
  since = Date.now();
  error: Error | null = null;
  cursor: string | null = null;
  tail: TailState = 'connecting';
  tailProblem = '';
  missed = 0;
  forgotten = 0;
  /** Ids of late: after the first page, and after a lost connection, the stream may bring some again. */
  #late = new Set<string>();

  /** The row at a place of the list, newest first. */
  at(row: number): Record_ | undefined {
    return this.items[this.items.length - 1 - row];
  }

  rowOf(id: string | null): number {
    const index = id === null ? -1 : this.items.findLastIndex((record) => record.id === id);
    return index < 0 ? -1 : this.items.length - 1 - index;
  }

  /** Those that are not known yet. */
  fresh(records: Record_[]): Record_[] {
    const found = records.filter((record) => !this.#late.has(record.id));
    for (const record of found) this.#late.add(record.id);
    for (const id of this.#late) {
      if (this.#late.size <= LATE) break;
      this.#late.delete(id); // a set gives its oldest first
    }
    return found;
  }

  add(records: Record_[], to: 'items' | 'waiting'): void {
    const list = this[to];
    for (const record of records) list.push(record);
    if (list.length > MOST) this.forgotten += list.splice(0, list.length - MOST).length;
  }
}

export interface Listing {
  records: Records;
  /** Changes whenever records do. */
  version: number;
  more(): void;
  /** Put what waits on top. */
  release(): void;
}

export function useRecords(search: Search, live: boolean, paused: boolean): Listing {
  const key = `${requestOf(search)}|${live}`;
  const round = useValue(again);
  const [version, setVersion] = useState(0);
  const records = useMemo(() => new Records(), [key]);
  const hold = useRef(paused);
  hold.current = paused;
  const frame = useRef(0);
  const changed = (): void => {
    // At most one drawing per frame, however fast records come.
    if (!frame.current)
      frame.current = requestAnimationFrame(() => {
        frame.current = 0;
        setVersion((n) => n + 1);
      });
  };

  useEffect(() => {
    if (records.items.length || (!records.loading && !records.error)) return; // the server is back: what is shown stays
    const stop = new AbortController();
    records.loading = true;
    records.since = Date.now();
    get<{ logs: Record_[]; nextCursor: string | null }>(`/v1/logs?${requestOf(search, { limit: String(FIRST) })}`, stop.signal)
      .then((page) => {
        records.items.unshift(...records.fresh(page.logs).reverse());
        records.cursor = page.nextCursor;
        records.error = null;
      })
      .catch((error: Error) => !stop.signal.aborted && (records.error = error))
      .finally(() => {
        if (stop.signal.aborted) return;
        records.loading = false;
        changed();
      });
    changed();
    return () => stop.abort();
  }, [records, round]);

  useEffect(() => {
    if (!live) return;
    const q = fullQuery(search);
    return follow(new URLSearchParams(q ? { q } : {}), {
      records(found) {
        records.add(records.fresh(found), hold.current ? 'waiting' : 'items');
        changed();
      },
      gap(missed) {
        records.missed += missed ?? 1;
        changed();
      },
      state(state, problem = '') {
        records.tail = state;
        records.tailProblem = problem;
        changed();
      },
    });
  }, [records]);

  const more = (): void => {
    if (records.loading || !records.cursor || records.items.length >= MOST) return;
    records.loading = true;
    records.since = Date.now();
    get<{ logs: Record_[]; nextCursor: string | null }>(`/v1/logs?${requestOf(search, { limit: String(NEXT), cursor: records.cursor })}`)
      .then((page) => {
        records.items = [...page.logs.reverse(), ...records.items];
        records.cursor = page.nextCursor;
      })
      .catch((error: Error) => (records.error = error))
      .finally(() => {
        records.loading = false;
        changed();
      });
  };
  const release = (): void => {
    records.add(records.waiting, 'items');
    records.waiting = [];
    changed();
  };
  return { records, version, more, release };
}
