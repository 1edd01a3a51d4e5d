// A list of any length: only the rows in view are in the document. All rows have the same height.
import type { ComponentChildren, Ref } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface VirtualProps {
  count: number;
  rowHeight: number;
  label: string;
  /** The row that the keyboard is on; -1 for none. */
  at: number;
  move(to: number): void;
  open(row: number): void;
  row(index: number): ComponentChildren;
  /** Called when the end comes near. */
  more?(): void;
  /** Told whether the first row is in view. */
  atTop?(yes: boolean): void;
  /** What scrolls: to be kept in place when rows come in above. */
  box: Ref<HTMLDivElement> & { current: HTMLDivElement | null };
}

const BEYOND = 12; // rows drawn above and below the view, so that quick scrolling shows no gap

export function VirtualList(props: VirtualProps) {
  const { count, rowHeight, at, box } = props;
  const [view, setView] = useState({ first: 0, rows: 40 });
  const asked = useRef(0);
  const latest = useRef(props);
  latest.current = props;

  const look = (): void => {
    const element = box.current;
    if (!element) return;
    const first = Math.floor(element.scrollTop / rowHeight);
    const rows = Math.ceil(element.clientHeight / rowHeight) + 1;
    setView((before) => (before.first === first && before.rows === rows ? before : { first, rows }));
    latest.current.atTop?.(element.scrollTop < rowHeight / 2);
    if (first + rows * 3 > latest.current.count && asked.current !== latest.current.count) {
      asked.current = latest.current.count;
      latest.current.more?.();
    }
  };
  useLayoutEffect(look, [count]);
  useEffect(() => {
    if (!box.current) return;
    const observer = new ResizeObserver(look);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || at < 0) return;
    const top = at * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = top + rowHeight - element.clientHeight;
  }, [at]);

  const onKeyDown = (event: KeyboardEvent): void => {
    const page = Math.max(1, view.rows - 2);
    const steps: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: count - 1 };
    if (event.key === 'Enter' && at >= 0) {
      event.preventDefault();
      props.open(at);
    }
    const to = steps[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    props.move(Math.max(0, Math.min(count - 1, to)));
  };

  const from = Math.max(0, view.first - BEYOND);
  const until = Math.min(count, view.first + view.rows + BEYOND);
  const rows = [];
  for (let index = from; index < until; index++) rows.push(props.row(index));
  return (
    <div
      class="virtual"
      ref={box}
      role="listbox"
      tabIndex={0}
      aria-label={props.label}
      aria-activedescendant={at >= from && at < until ? `row-${at}` : undefined}
      onScroll={look}
      onKeyDown={onKeyDown}
    >
      <div class="virtual-all" role="presentation" style={{ height: `${count * rowHeight}px` }}>
        <div class="virtual-view" role="presentation" style={{ transform: `translateY(${from * rowHeight}px)` }}>
          {rows}
        </div>
      </div>
    </div>
  );
}
