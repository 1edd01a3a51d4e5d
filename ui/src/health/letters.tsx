import { useState } from 'preact/hooks';
import { get } from '../core/api';
import { plural } from '../core/format';
import { useLoad } from '../core/load';
import { Failure } from '../parts/parts';

interface Letter {
  time: string;
  destination: string;
  signal: string;
  reason: string;
  error: string | null;
  records: number;
  workers: string[];
}

/** What destinations refused for good, and why; asked for only when somebody wants to see it. */
export function DeadLetters() {
  const [open, setOpen] = useState(false);
  const { data, error } = useLoad(open ? 'letters' : null, (signal) => get<{ deadLetters: Letter[]; more: boolean }>('/v1/exports/dead-letters?limit=50', signal));
  return (
    <details class="panel-body" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Dead letters: what was refused for good</summary>
      {error && <Failure error={error} />}
      {data && !data.deadLetters.length && <p class="muted">None.</p>}
      {data && data.deadLetters.length > 0 && (
        <ul class="letters">
          {data.deadLetters.map((one, n) => (
            <li key={n}>
              <span class="mono muted">{one.time.slice(0, 19)}</span> {plural(one.records, 'record')} ({one.signal}) for {one.destination}: {one.reason}
              {one.error && `, ${one.error}`}
            </li>
          ))}
          {data.more && <li class="muted">More are not shown.</li>}
        </ul>
      )}
    </details>
  );
}
