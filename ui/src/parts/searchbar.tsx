// Query, time range and chips: what logs and invocations are searched by.
import type { Ref } from 'preact';
import { moment } from '../core/format';
import { change } from '../core/place';
import { anew, flip, RANGES, type Search } from '../core/search';
import { LEVELS, OUTCOMES } from '../core/types';
import { Chip } from './parts';
import { QueryBox } from './querybox';

interface Props {
  search: Search;
  box: Ref<HTMLInputElement> & { current: HTMLInputElement | null };
  invalid: boolean;
  live?: boolean;
  levels?: boolean;
}

export function SearchBar({ search, box, invalid, live = false, levels = true }: Props) {
  return (
    <>
      <QueryBox value={search.q} apply={(q) => change(anew({ q }))} box={box} invalid={invalid} />
      {!live && <RangeChoice search={search} />}
      <div class="chips" role="group" aria-label="Levels and outcomes">
        {levels &&
          LEVELS.map((level) => (
            <Chip key={level} class={level} on={search.levels.includes(level)} flip={() => change(anew({ level: flip(search.levels, level) }))}>
              {level}
            </Chip>
          ))}
        <OutcomeChips search={search} />
      </div>
    </>
  );
}

function OutcomeChips({ search }: { search: Search }) {
  return (
    <>
      {search.outcomes.map((outcome) => (
        <Chip key={outcome} on flip={() => change(anew({ outcome: flip(search.outcomes, outcome) }))} title="Remove">
          {outcome} ✕
        </Chip>
      ))}
      <select
        aria-label="Add an outcome"
        class="chip"
        value=""
        onChange={(event) => {
          change(anew({ outcome: [...search.outcomes, event.currentTarget.value] }));
          event.currentTarget.value = '';
        }}
      >
        <option value="">+ outcome</option>
        {OUTCOMES.filter((outcome) => !search.outcomes.includes(outcome)).map((outcome) => (
          <option key={outcome}>{outcome}</option>
        ))}
      </select>
    </>
  );
}

export function RangeChoice({ search }: { search: Search }) {
  const own = Boolean(search.until) || (search.since !== 'all' && !RANGES.some(([value]) => value === search.since));
  const now = own ? 'own' : search.since === 'all' ? '' : search.since;
  return (
    <>
      <select
        aria-label="Time range"
        value={now}
        onChange={(event) => {
          const value = event.currentTarget.value;
          if (value !== 'own') change(anew({ since: value || 'all', until: null }));
        }}
      >
        {own && <option value="own">{ownRange(search)}</option>}
        {RANGES.map(([value, name]) => (
          <option key={value} value={value}>
            {value ? `Last ${name}` : name}
          </option>
        ))}
      </select>
      {own && (
        <button class="quiet" title="Back to the last hour" aria-label="Leave this time range" onClick={() => change(anew({ since: null, until: null }))}>
          ✕
        </button>
      )}
    </>
  );
}

function ownRange({ since, until }: Search): string {
  const point = (text: string): string => (/^\d+$/.test(text) ? moment(Number(text)) : text);
  return until ? `${point(since)} to ${point(until).slice(-8)}` : `since ${point(since)}`;
}
