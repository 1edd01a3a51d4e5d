// Logs: search, look, follow live. All of the view is in the address.
import { useEffect, useRef, useState } from 'preact/hooks';
import { useKeys } from '../core/keys';
import { clock, plural } from '../core/format';
import { change, usePlace } from '../core/place';
import { anew, offsetOf, searchOf } from '../core/search';
import { Waiting } from '../parts/connection';
import { Failure, LevelBadge } from '../parts/parts';
import { SearchBar } from '../parts/searchbar';
import { VirtualList } from '../parts/virtual';
import { Detail } from './detail';
import { NoLogs } from './empty';
import { ExportDialog } from './export';
import { Histogram } from './histogram';
import { MOST, useRecords } from './records';
import { ApiError } from '../core/api';

const ROW = 24;

export function LogsPage() {
  const { params } = usePlace();
  const search = searchOf(params);
  const live = params.get('live') === '1';
  const opened = params.get('row');
  const [paused, setPaused] = useState(false);
  const [top, setTop] = useState(true);
  const [cursor, setCursor] = useState<string | null>(opened);
  const [exporting, setExporting] = useState(false);
  const list = useRef<HTMLDivElement>(null);
  const query = useRef<HTMLInputElement>(null);
  const { records, version, more, release } = useRecords(search, live, paused || !top);
  const at = records.rowOf(cursor);

  const open = (id: string | null): void => change({ row: id }, true);
  const move = (row: number): void => {
    const record = records.at(row);
    if (!record) return;
    setCursor(record.id);
    if (opened) open(record.id);
  };
  const toTop = (): void => {
    release();
    setPaused(false);
    if (list.current) list.current.scrollTop = 0;
  };
  useEffect(() => {
    if (!paused && top && records.waiting.length) release();
  }, [paused, top]);
  const focusList = (): void => list.current?.focus();
  useKeys([
    { key: '/', label: 'Search', run: () => query.current?.focus() },
    { key: 'j', label: 'Next row', run: () => (focusList(), move(at + 1)) },
    { key: 'k', label: 'Previous row', run: () => (focusList(), move(Math.max(0, at - 1))) },
    { key: 'Enter', label: 'Show all fields of the row', run: () => cursor && open(cursor) },
    { key: 'Escape', label: 'Close the fields', run: () => (open(null), focusList()) },
    { key: 'l', label: 'Live: on or off', run: () => change(anew({ live: live ? null : '1' })) },
    { key: ' ', label: 'Live: pause or go on', run: () => live && (paused ? toTop() : setPaused(true)) },
    { key: 'e', label: 'Export', run: () => setExporting(true) },
  ]);
  const error = records.error ?? null;
  const count = records.items.length;
  return (
    <div class="logs">
      <header class="head">
        <h1>Logs</h1>
        <SearchBar search={search} box={query} invalid={error instanceof ApiError} live={live} />
        <div class="head-rest">
          <button aria-pressed={live} class={live ? 'live on' : 'live'} onClick={() => change(anew({ live: live ? null : '1' }))} title="l">
            {live ? '● Live' : '○ Live'}
          </button>
          <button onClick={() => setExporting(true)}>Export…</button>
        </div>
      </header>
      {error && <Failure error={error} text={search.q} offset={offsetOf(search)} />}
      <Histogram search={search} live={live} />
      {live && (
        <LiveBar records={records} paused={paused || !top} pause={() => setPaused(true)} toTop={toTop} />
      )}
      <div class="logs-body">
        <div class="logs-list" data-version={version}>
          {count > 0 ? (
            <VirtualList
              count={count}
              rowHeight={ROW}
              label="Records, newest first"
              at={at}
              box={list}
              move={move}
              open={(row) => open(records.at(row)?.id ?? null)}
              more={more}
              atTop={setTop}
              row={(index) => {
                const record = records.at(index)!;
                return (
                  <div
                    key={record.id}
                    id={`row-${index}`}
                    class={`row ${record.level} ${record.kind}`}
                    role="option"
                    aria-selected={record.id === cursor}
                    aria-setsize={count}
                    aria-posinset={index + 1}
                    onClick={() => (setCursor(record.id), open(record.id))}
                  >
                    <time class="mono">{clock(record.timeUnixNano)}</time>
                    <LevelBadge level={record.level} />
                    <span class="row-worker">{record.workerId ?? '–'}</span>
                    <span class="row-text mono">{firstLine(record.text)}</span>
                  </div>
                );
              }}
            />
          ) : records.loading ? (
            <Waiting since={records.since} what="logs" />
          ) : (
            !error && <NoLogs search={search} live={live} />
          )}
          {count > 0 && (
            <p class="logs-foot muted" role="status">
              {plural(count, 'record')}
              {records.loading ? ', loading older ones…' : records.cursor ? (count >= MOST ? `: the most that is shown. Narrow the search or export.` : ', more below') : ''}
              {records.forgotten > 0 && ` ${plural(records.forgotten, 'older one')} left the list.`}
            </p>
          )}
        </div>
        {opened && <Detail id={opened} record={records.at(records.rowOf(opened))} search={search} close={() => (open(null), focusList())} />}
      </div>
      {exporting && <ExportDialog search={search} close={() => setExporting(false)} />}
    </div>
  );
}

function LiveBar(props: { records: ReturnType<typeof useRecords>['records']; paused: boolean; pause(): void; toTop(): void }) {
  const { records, paused, pause, toTop } = props;
  const says = { connecting: 'Connecting…', live: 'Following live.', lost: 'Connection lost; connecting again…', ended: records.tailProblem }[records.tail];
  return (
    <div class={`livebar ${records.tail}`} role="status">
      <span>{paused && records.tail === 'live' ? 'Paused.' : says}</span>
      {paused ? (
        <button class="small" onClick={toTop}>
          {records.waiting.length ? `Show ${plural(records.waiting.length, 'new one')}` : 'Go on'}
        </button>
      ) : (
        <button class="small" onClick={pause}>
          Pause
        </button>
      )}
      {records.missed > 0 && <span class="missed">{plural(records.missed, 'record')} came too fast to be shown; a search finds them.</span>}
    </div>
  );
}

/** What fits into a row; a text of megabytes would slow the whole list. */
function firstLine(text: string): string {
  const end = text.indexOf('\n');
  const line = end >= 0 && end < 500 ? `${text.slice(0, end)} ⏎` : text.slice(0, 500);
  return line;
}
