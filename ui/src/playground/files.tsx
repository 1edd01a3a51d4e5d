// The files of a program as tabs, and the editor below.
import { useRef, useState } from 'preact/hooks';
import { bytes } from '../core/format';
import { Editor, type Target } from '../parts/editor';
import { Dialog } from '../parts/dialog';
import { Tabs } from '../parts/parts';
import { SETTINGS, type File_, type Program } from './program';

interface Props {
  program: Program;
  edit(next: Program): void;
  shown: string;
  show(name: string): void;
  target: Target | null;
  run(): void;
}

export function Files({ program, edit, shown, show, target, run }: Props) {
  const [adding, setAdding] = useState(false);
  const file = program.files.find((one) => one.name === shown);
  const change = (text: string): void => {
    if (shown === SETTINGS) edit({ ...program, settings: text });
    else edit({ ...program, files: program.files.map((one) => (one.name === shown ? { ...one, text } : one)) });
  };
  const remove = (): void => {
    edit({ ...program, files: program.files.filter((one) => one.name !== shown) });
    show(program.main);
  };
  return (
    <div class="files">
      <div class="files-bar">
        <Tabs
          label="Files"
          now={shown}
          set={show}
          tabs={[...program.files.map((one) => ({ id: one.name, name: one.name })), { id: SETTINGS, name: SETTINGS }]}
        />
        <button class="quiet" onClick={() => setAdding(true)} title="Add a file" aria-label="Add a file">
          +
        </button>
        {file && file.name !== program.main && (
          <button class="quiet" onClick={remove} title={`Remove ${file.name}`} aria-label={`Remove ${file.name}`}>
            ✕
          </button>
        )}
      </div>
      {file?.base64 !== undefined ? (
        <p class="waiting">A module of {bytes(Math.floor((file.base64.length * 3) / 4))}. It is sent as it is.</p>
      ) : (
        <Editor
          text={shown === SETTINGS ? program.settings : (file?.text ?? '')}
          name={shown}
          label={file?.note ? `${shown}, to read only` : `Source of ${shown}`}
          readOnly={file?.note ?? false}
          changed={change}
          run={run}
          target={target}
        />
      )}
      {adding && (
        <AddDialog
          taken={program.files.map((one) => one.name)}
          add={(added) => {
            const main = added.base64 !== undefined && program.files.every((one) => !one.text?.trim()) ? added.name : program.main;
            edit({ ...program, main, files: [...program.files, added] });
            show(added.name);
          }}
          close={() => setAdding(false)}
        />
      )}
    </div>
  );
}

function AddDialog({ taken, add, close }: { taken: string[]; add(file: File_): void; close(): void }) {
  const [name, setName] = useState('');
  const picked = useRef<HTMLInputElement>(null);
  const wrong = taken.includes(name) || name === SETTINGS ? 'There is a file of this name.' : '';
  const upload = async (): Promise<void> => {
    const file = picked.current?.files?.[0];
    if (!file) return;
    const data = new Uint8Array(await file.arrayBuffer());
    let text = '';
    for (const byte of data) text += String.fromCharCode(byte);
    const isText = /\.([mc]?js|json|txt|html|css|md)$/.test(file.name);
    add(isText ? { name: file.name, text: new TextDecoder().decode(data) } : { name: file.name, base64: btoa(text) });
    close();
  };
  return (
    <Dialog title="Add a file" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!name || wrong) return;
          add({ name, text: '' });
          close();
        }}
      >
        <label>
          Name: .js is a module, .json is parsed, other names are text
          <input value={name} onInput={(event) => setName(event.currentTarget.value.trim())} placeholder="lib/helper.js" autofocus />
        </label>
        {wrong && <p class="note bad">{wrong}</p>}
        <p class="actions">
          <button class="primary" disabled={!name || Boolean(wrong)}>
            Add
          </button>
          <label class="button">
            From disk…
            <input class="unseen" type="file" ref={picked} onChange={() => void upload()} />
          </label>
        </p>
      </form>
    </Dialog>
  );
}
