// The form of a question. Every change goes into the address, and the address is the question.
import { useState } from 'preact/hooks';
import { get } from '../core/api';
import { useLoad } from '../core/load';
import { change } from '../core/place';
import { calcText, filterText, OPERATIONS, OPERATORS, type Calculation, type Filter, type Operation, type Question } from './question';

export function QuestionForm({ question }: { question: Question }) {
  const keys = useLoad('keys', (signal) => get<{ keys: { key: string; type: string; text?: string; structured?: boolean }[] }>('/v1/keys?limit=300', signal));
  const all = keys.data?.keys ?? [];
  const { calculations, groupBy, filters } = question;
  const setCalculations = (next: Calculation[]): void => change({ calc: next.map((one) => `${one.operator}${one.operator === 'count' ? '' : `(${one.key})`}`) });
  return (
    <>
      <datalist id="keys">
        {all.map((key) => (
          <option key={key.key} value={key.key}>
            {key.text ?? `member, ${key.type}`}
          </option>
        ))}
      </datalist>
      <fieldset>
        <legend>Calculate</legend>
        {calculations.map((one, n) => (
          <div class="form-row" key={n}>
            <select
              aria-label={`Calculation ${n + 1}`}
              value={one.operator}
              onChange={(event) => {
                const operator = event.currentTarget.value;
                const key = operator === 'count' ? '' : one.key || 'wallMs';
                setCalculations(calculations.map((old, m) => (m === n ? { operator, key } : old)));
              }}
            >
              {OPERATORS.map((operator) => (
                <option key={operator}>{operator}</option>
              ))}
            </select>
            {one.operator !== 'count' && (
              <KeyInput label={`of what, ${calcText(one)}`} value={one.key} set={(key) => setCalculations(calculations.map((old, m) => (m === n ? { ...old, key } : old)))} />
            )}
            {calculations.length > 1 && <Remove what={calcText(one)} run={() => setCalculations(calculations.filter((_, m) => m !== n))} />}
          </div>
        ))}
        <button class="small" onClick={() => setCalculations([...calculations, { operator: 'p95', key: 'wallMs' }])}>
          + calculation
        </button>
      </fieldset>
      <fieldset>
        <legend>Group by</legend>
        {groupBy.map((key, n) => (
          <div class="form-row" key={n}>
            <KeyInput label={`Group ${n + 1}`} value={key} set={(next) => change({ by: groupBy.map((old, m) => (m === n ? next : old)) })} />
            <Remove what={`group ${key}`} run={() => change({ by: groupBy.filter((_, m) => m !== n) })} />
          </div>
        ))}
        <button class="small" onClick={() => change({ by: [...groupBy, ['worker', 'outcome', 'path', 'status'].find((key) => !groupBy.includes(key)) ?? 'level'] })}>
          + group
        </button>
      </fieldset>
      <fieldset>
        <legend>Only where</legend>
        {filters.map((one, n) => (
          <FilterRow
            key={n}
            n={n}
            filter={one}
            set={(next) => change({ filter: filters.map((old, m) => filterText(m === n ? next : old)) })}
            remove={() => change({ filter: filters.filter((_, m) => m !== n).map(filterText) })}
          />
        ))}
        <button class="small" onClick={() => change({ filter: [...filters.map(filterText), 'kind~eq~invocation'] })}>
          + filter
        </button>
      </fieldset>
      <fieldset>
        <legend>Rows</legend>
        <div class="form-row">
          <label>
            First value
            <TextInput value={question.having} set={(having) => change({ having })} placeholder="> 10" label="Only rows whose first value is" />
          </label>
          <label>
            At most
            <select value={String(question.limit)} onChange={(event) => change({ limit: event.currentTarget.value })}>
              {[5, 10, 25, 100, 1000].map((n) => (
                <option key={n}>{n}</option>
              ))}
            </select>
          </label>
        </div>
      </fieldset>
    </>
  );
}

function FilterRow({ n, filter, set, remove }: { n: number; filter: Filter; set(next: Filter): void; remove(): void }) {
  return (
    <div class="form-row">
      <KeyInput label={`Field of filter ${n + 1}`} value={filter.key} set={(key) => set({ ...filter, key })} />
      <select aria-label={`Condition of filter ${n + 1}`} value={filter.operation} onChange={(event) => set({ ...filter, operation: event.currentTarget.value as Operation })}>
        {Object.entries(OPERATIONS).map(([operation, name]) => (
          <option key={operation} value={operation}>
            {name}
          </option>
        ))}
      </select>
      {!/^(exists|is_null)$/.test(filter.operation) && <TextInput value={filter.value} set={(value) => set({ ...filter, value })} label={`Value of filter ${n + 1}`} />}
      <Remove what={`filter ${n + 1}`} run={remove} />
    </div>
  );
}

const KeyInput = (props: { label: string; value: string; set(value: string): void }) => <TextInput {...props} list="keys" />;

/** A text that counts when one leaves the field or presses Enter: half a name is no question. */
function TextInput({ label, value, set, list, placeholder }: { label: string; value: string; set(value: string): void; list?: string; placeholder?: string }) {
  const [typed, setTyped] = useState<string | null>(null);
  const apply = (): void => {
    if (typed !== null && typed !== value) set(typed);
    setTyped(null);
  };
  return (
    <input
      aria-label={label}
      class="mono"
      list={list}
      placeholder={placeholder}
      spellcheck={false}
      value={typed ?? value}
      onInput={(event) => setTyped(event.currentTarget.value)}
      onBlur={apply}
      onKeyDown={(event) => event.key === 'Enter' && apply()}
    />
  );
}

const Remove = ({ what, run }: { what: string; run(): void }) => (
  <button class="quiet" aria-label={`Remove ${what}`} title="Remove" onClick={run}>
    ✕
  </button>
);
