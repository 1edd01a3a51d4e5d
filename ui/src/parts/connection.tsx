// What is said about the server as a whole: that it is away, back, slow, or asks for a token.
import { useEffect, useState } from 'preact/hooks';
import { giveToken, reachable, wantsToken } from '../core/api';
import { useValue } from '../core/value';
import { Dialog } from './dialog';

/** A banner while the server does not answer, and for a moment when it is back. */
export function ConnectionNote() {
  const there = useValue(reachable);
  const [wasLost, setLost] = useState(false);
  useEffect(() => {
    if (!there) return setLost(true);
    const timer = setTimeout(() => setLost(false), 3_000);
    return () => clearTimeout(timer);
  }, [there]);
  return (
    <div role="status" class="connection">
      {!there && (
        <p class="note bad">
          <b>The server does not answer.</b> What you see may be old. Trying again…
        </p>
      )}
      {there && wasLost && <p class="note good">Connected again.</p>}
    </div>
  );
}

export function TokenDialog() {
  const wanted = useValue(wantsToken);
  const [token, setToken] = useState('');
  if (!wanted) return null;
  return (
    <Dialog title="This service asks for a token" close={null}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim()) giveToken(token.trim());
          setToken('');
        }}
      >
        <p>
          It is the value of <code>auth.token</code> in the service's settings (<code>OTELBRIDGE_AUTH_TOKEN</code>). It stays in this tab and is
          forgotten when you close it.
        </p>
        <label>
          Token
          <input
            type="password"
            autocomplete="off"
            autofocus
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
           
          />
        </label>
        <p class="actions">
          <button class="primary" disabled={!token.trim()}>
            Use this token
          </button>
        </p>
      </form>
    </Dialog>
  );
}

/** What stands in place of data: that it loads, after a while that it is slow. */
export function Waiting({ since, what }: { since: number; what: string }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 500);
    return () => clearInterval(timer);
  }, []);
  const waited = Date.now() - since;
  return (
    <p class="waiting" role="status">
      {waited < 300 ? ' ' : waited < 4_000 ? `Loading ${what}…` : `Still loading ${what}: the server has been busy with it for ${Math.round(waited / 1000)} s.`}
    </p>
  );
}
