// The playground: write a worker, run it, see what it did.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from '../core/api';
import { useKeys } from '../core/keys';
import { go, place, usePlace } from '../core/place';
import type { Worker } from '../core/types';
import type { Target } from '../parts/editor';
import { Copy, Failure } from '../parts/parts';
import { DeployDialog } from './deploy';
import { EXAMPLES } from './examples';
import { Files } from './files';
import { fromFragment, SETTINGS, toFragment, type Program } from './program';
import { RequestForm } from './request';
import { Results } from './results';
import { useRun } from './run';

const LONGEST = 1 << 20;

export function PlaygroundPage() {
  const { params } = usePlace();
  const { program, edit, latest, error } = useProgram();
  const { run, start, stop } = useRun();
  const [file, setFile] = useState('');
  const [target, setTarget] = useState<Target | null>(null);
  const [deploying, setDeploying] = useState(false);
  const example = EXAMPLES.find((one) => one.id === params.get('example'));
  // What was typed last, also when it has not been drawn yet: fingers are quicker.
  const runNow = (): void => void (latest.current && start(latest.current));
  useKeys([
    { key: 'Mod+Enter', label: 'Run the code', always: true, run: runNow },
    { key: 'd', label: 'Deploy as a worker', run: () => setDeploying(true) },
  ]);
  const right = useRef<HTMLElement>(null);
  const running = run.state === 'running';
  const answered = run.state === 'finishing' || run.state === 'done';
  useEffect(() => {
    // Where the result stands below the code, nobody would see that there is one: again when it has its height.
    if ((running || answered) && matchMedia('(max-width: 900px)').matches) right.current?.scrollIntoView({ block: 'start' });
  }, [running, answered]);
  if (error) return <Failure error={error} />;
  if (!program) return <h1 class="unseen">Playground</h1>;
  const shown = [...program.files.map((one) => one.name), SETTINGS].includes(file) ? file : program.main.endsWith('.wasm') ? (program.files.find((one) => one.note)?.name ?? program.main) : program.main;
  return (
    <div class="playground">
      <header class="head">
        <h1>Playground</h1>
        <select aria-label="Example" value={example?.id ?? ''} onChange={(event) => go(`/playground?example=${event.currentTarget.value}`)}>
          {!example && <option value="">Your code</option>}
          {EXAMPLES.map((one) => (
            <option key={one.id} value={one.id}>
              {one.name}
            </option>
          ))}
        </select>
        <div class="head-rest">
          <Copy text={() => location.href} label="Copy link" title="The link holds all files and the request" />
          <button onClick={() => setDeploying(true)}>Deploy…</button>
          {run.state === 'running' ? (
            <button onClick={stop}>Stop</button>
          ) : (
            <button class="primary" onClick={runNow} title="Ctrl+Enter">
              Run
            </button>
          )}
        </div>
        {example && <p class="teaches">{example.teaches}</p>}
      </header>
      <div class="play-columns">
        <section class="play-left" aria-label="Code and request">
          <Files program={program} edit={edit} shown={shown} show={(name) => (setFile(name), setTarget(null))} target={target} run={runNow} />
          <RequestForm request={program.request} set={(request) => edit({ ...program, request })} />
        </section>
        <section class="play-right" aria-label="Result" ref={right}>
          <Results
            run={run}
            files={program.files.map((one) => one.name)}
            reveal={(name, line, column) => {
              setFile(name);
              setTarget({ line, column });
            }}
          />
        </section>
      </div>
      {deploying && <DeployDialog program={program} close={() => setDeploying(false)} />}
    </div>
  );
}

/** The program that the address names: an example, a deployed worker, or code behind the #. Edits go into the address. */
function useProgram(): { program: Program | null; edit(next: Program): void; latest: { current: Program | null }; error: Error | null } {
  const { params } = usePlace();
  const [program, set] = useState<Program | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const latest = useRef<Program | null>(null);
  const writing = useRef(0);
  const written = useRef('');
  useEffect(() => () => clearTimeout(writing.current), []);
  const example = params.get('example');
  const worker = params.get('worker');
  useEffect(() => {
    // Our own writing into the address is no reason to read it: meanwhile somebody may have typed on.
    if (location.hash && location.hash === written.current) return;
    let gone = false;
    setError(null);
    read(example, worker)
      .then((found) => !gone && set((latest.current = found)))
      .catch((problem: Error) => !gone && setError(problem));
    return () => {
      gone = true;
    };
  }, [example, worker]);
  const edit = (next: Program): void => {
    set((latest.current = next));
    clearTimeout(writing.current);
    // Browsers refuse an address that changes with every key, and one that is very long.
    writing.current = window.setTimeout(async () => {
      const fragment = await toFragment(next);
      if (location.pathname !== '/playground' || fragment.length > LONGEST) return;
      written.current = `#${fragment}`;
      history.replaceState(null, '', `/playground${worker ? `?worker=${encodeURIComponent(worker)}` : ''}#${fragment}`);
      if (example) place.set({ path: '/playground', params: new URLSearchParams(worker ? { worker } : {}) });
    }, 250);
  };
  return { program, edit, latest, error };
}

async function read(example: string | null, worker: string | null): Promise<Program> {
  const shared = location.hash.length > 1 ? await fromFragment(location.hash.slice(1)) : null;
  if (shared) return shared;
  if (worker) return ofWorker(await get<Worker>(`/v1/workers/${encodeURIComponent(worker)}`));
  return structuredClone((EXAMPLES.find((one) => one.id === example) ?? EXAMPLES[0]!).program);
}

function ofWorker(worker: Worker): Program {
  const settings = { limits: worker.limits, isolation: worker.isolation, tags: worker.tags };
  return {
    main: worker.mainModule,
    files: Object.entries(worker.sources ?? {}).map(([name, text]) => ({ name, text })),
    settings: `${JSON.stringify(settings, null, 2)}\n`,
    request: { method: 'GET', path: '/', headers: '', body: '' },
  };
}
