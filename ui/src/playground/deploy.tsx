import { useState } from 'preact/hooks';
import { send } from '../core/api';
import { usePlace } from '../core/place';
import type { Worker } from '../core/types';
import { Dialog } from '../parts/dialog';
import { Command, Failure } from '../parts/parts';
import { codeOf, type Program } from './program';

/** Register the program as a worker that answers at /w/{id}/. */
export function DeployDialog({ program, close }: { program: Program; close(): void }) {
  const [id, setId] = useState(usePlace().params.get('worker') ?? '');
  const [done, setDone] = useState<Worker | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  const deploy = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      setDone(await send<Worker>('PUT', `/v1/workers/${encodeURIComponent(id)}`, codeOf(program)));
    } catch (problem) {
      setError(problem as Error);
    }
    setBusy(false);
  };
  const path = `/w/${encodeURIComponent(id)}/`;
  return (
    <Dialog title="Deploy as a worker" close={close}>
      {done ? (
        <div class="deployed" role="status">
          <p>
            <b>{done.workerId}</b> is deployed, version <code>{done.version}</code>. It answers now, and after a restart:
          </p>
          {(done.warnings ?? []).map((warning) => (
            <p class="note warn" key={warning}>
              {warning}
            </p>
          ))}
          <Command text={`curl -i ${location.origin}${path}`} />
          <p class="actions">
            <a class="button" href={`/workers/${encodeURIComponent(done.workerId)}`} onClick={close}>
              Show the worker
            </a>
            <a class="button" href={`/logs?live=1&q=${encodeURIComponent(`worker:${quoted(done.workerId)}`)}`} onClick={close}>
              Watch its logs
            </a>
          </p>
        </div>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void deploy();
          }}
        >
          <label>
            Worker id; an id that exists is replaced
            <input value={id} onInput={(event) => setId(event.currentTarget.value)} placeholder="my-worker" autofocus spellcheck={false} />
          </label>
          {error && <Failure error={error} />}
          <p class="actions">
            <button class="primary" disabled={!id || busy}>
              {busy ? 'Deploying…' : 'Deploy'}
            </button>
          </p>
        </form>
      )}
    </Dialog>
  );
}

const quoted = (id: string): string => (/^[\w.-]+$/.test(id) ? id : JSON.stringify(id));
