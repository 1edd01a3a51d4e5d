// Questions that somebody wants to ask again: kept in this browser.
import { useState } from 'preact/hooks';
import { usePlace } from '../core/place';

const NAME = 'otelbridge-queries';

interface Kept {
  name: string;
  address: string;
}

const OFFERED: Kept[] = [
  { name: 'Errors by worker', address: '/query?q=kind%3Ainvocation%20level%3Aerror&by=worker' },
  { name: 'Slowest paths (p95)', address: '/query?q=kind%3Ainvocation&calc=p95(wallMs)&calc=count&by=worker&by=path' },
  { name: 'Outcomes over time', address: '/query?q=kind%3Ainvocation&by=outcome&chart=bars' },
  { name: 'CPU time by worker', address: '/query?q=kind%3Ainvocation&calc=sum(cpuMs)&calc=p99(cpuMs)&by=worker' },
];

export function Saved() {
  usePlace(); // a link to this very question follows the address
  const [kept, setKept] = useState<Kept[]>(() => read());
  const [name, setName] = useState('');
  const keep = (next: Kept[]): void => {
    localStorage.setItem(NAME, JSON.stringify(next));
    setKept(next);
  };
  return (
    <fieldset>
      <legend>Saved</legend>
      <ul class="saved">
        {[...kept, ...OFFERED].map((one, n) => (
          <li key={one.name}>
            <a href={one.address}>{one.name}</a>
            {n < kept.length && (
              <button class="quiet" aria-label={`Forget ${one.name}`} title="Forget" onClick={() => keep(kept.filter((other) => other.name !== one.name))}>
                ✕
              </button>
            )}
          </li>
        ))}
      </ul>
      <form
        class="form-row"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim()) keep([{ name: name.trim(), address: location.pathname + location.search }, ...kept.filter((one) => one.name !== name.trim())]);
          setName('');
        }}
      >
        <input aria-label="Name for this query" placeholder="Name for this query" value={name} onInput={(event) => setName(event.currentTarget.value)} />
        <button class="small" disabled={!name.trim()}>
          Save
        </button>
      </form>
    </fieldset>
  );
}

function read(): Kept[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(NAME) ?? '[]');
    // Only addresses of this page: what is stored here may have been written by anything of this origin.
    return Array.isArray(found) ? (found as Kept[]).filter((one) => typeof one?.name === 'string' && /^\/query(\?|$)/.test(one.address)) : [];
  } catch {
    return [];
  }
}
