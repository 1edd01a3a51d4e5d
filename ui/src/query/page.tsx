// The query builder: a form, the request it makes, and what comes of it as lines, bars or a table.
import { useRef } from 'preact/hooks';
import { ApiError, send } from '../core/api';
import { number } from '../core/format';
import { useKeys } from '../core/keys';
import { useLoad } from '../core/load';
import { change, usePlace } from '../core/place';
import { offsetOf } from '../core/search';
import type { QueryAnswer } from '../core/types';
import { Waiting } from '../parts/connection';
import { Chip, Command, Empty, Failure, Tabs } from '../parts/parts';
import { QueryBox } from '../parts/querybox';
import { RangeChoice } from '../parts/searchbar';
import { QuestionForm } from './form';
import { bodyOf, questionOf, whole } from './question';
import { Saved } from './saved';
import { ResultChart, ResultTable } from './results';

export function QueryPage() {
  const { params } = usePlace();
  const question = questionOf(params);
  const box = useRef<HTMLInputElement>(null);
  const ready = whole(question.calculations).length > 0;
  // Times move on with each question; the key is what was asked, not when.
  const key = ready ? params.toString() : null;
  const now = Date.now();
  const table = useLoad(key, (signal) => send<QueryAnswer>('POST', '/v1/query', bodyOf(question, false, now), signal));
  const series = useLoad(key && question.chart !== 'table' ? `over ${key}` : null, (signal) =>
    send<QueryAnswer>('POST', '/v1/query', bodyOf(question, true, now), signal),
  );
  const reload = (): void => {
    table.reload();
    series.reload();
  };
  useKeys([
    { key: '/', label: 'Query', run: () => box.current?.focus() },
    { key: 'r', label: 'Ask again', run: reload },
  ]);
  const error = table.error ?? series.error;
  const rows = table.data?.calculations ?? [];
  return (
    <div class="query">
      <header class="head">
        <h1>Query</h1>
        <QueryBox value={question.search.q} apply={(q) => change({ q })} box={box} invalid={error instanceof ApiError} />
        <RangeChoice search={question.search} />
        <div class="head-rest">
          <button onClick={reload} title="r">
            Run
          </button>
        </div>
      </header>
      <div class="query-columns">
        <section class="query-form" aria-label="Question">
          <QuestionForm question={question} />
          <Saved />
          <details>
            <summary>The request, for a shell</summary>
            <Command text={`curl ${location.origin}/v1/query -H 'content-type: application/json' -d '${JSON.stringify(bodyOf(question, question.chart !== 'table', now)).replaceAll("'", "'\\''")}'`} />
          </details>
        </section>
        <section class="query-result" aria-label="Answer">
          <div class="query-bar">
            <Tabs
              label="How it is shown"
              now={question.chart}
              set={(chart) => change({ chart: chart === 'line' ? null : chart })}
              tabs={[
                { id: 'line', name: 'Lines' },
                { id: 'bars', name: 'Bars' },
                { id: 'table', name: 'Table' },
              ]}
            />
            <Chip on={question.compare} flip={() => change({ compare: question.compare ? null : '1' })} title="The same length of time before, dashed">
              compare with before
            </Chip>
          </div>
          {(table.data?.warnings ?? []).map((warning) => (
            <p class="note warn" key={warning} role="status">
              {warning}
            </p>
          ))}
          {error && <Failure error={error} text={question.search.q} offset={offsetOf(question.search)} />}
          {table.loading && !table.data && <Waiting since={table.since} what="the answer" />}
          {question.chart !== 'table' && series.data && <ResultChart question={question} answer={series.data} top={rows} />}
          {table.data && !error && (rows.length ? <ResultTable question={question} rows={rows} /> : <Nothing />)}
          {table.data && (
            <p class="muted query-foot">
              {number(table.data.statistics.rowsRead)} rows read in {number(table.data.statistics.elapsedMs)} ms
            </p>
          )}
        </section>
      </div>
    </div>
  );
}

const Nothing = () => (
  <Empty title="Nothing to count" curl={`curl ${location.origin}/w/hello/`}>
    No record fits in this time. Widen the range, loosen the filters, or call a worker:
  </Empty>
);
