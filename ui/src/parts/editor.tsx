import { useEffect, useRef, useState } from 'preact/hooks';
import type { Code, CodeOptions } from './codemirror';

/** A place in a file that the editor should go to; a new object goes there again. */
export interface Target {
  line: number;
  column: number;
}

/** A code editor; until it has loaded, and where it can't, a plain text field. */
export function Editor({ target, ...options }: CodeOptions & { target?: Target | null }) {
  const host = useRef<HTMLDivElement>(null);
  const code = useRef<Code | null>(null);
  const [ready, setReady] = useState(false);
  const latest = useRef(options);
  latest.current = options;

  useEffect(() => {
    let gone = false;
    void import('./codemirror').then((module) => {
      if (gone || !host.current) return;
      const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: 'open' });
      code.current = new module.Code(root, latest.current);
      setReady(true);
    });
    return () => {
      gone = true;
      code.current?.view.destroy();
      code.current = null;
    };
  }, []);
  useEffect(() => code.current?.show(options));
  useEffect(() => {
    if (target && ready) code.current?.reveal(target.line, target.column);
  }, [target, ready]);

  return (
    <div class="editor">
      <div class="editor-host" ref={host} />
      {!ready && (
        <textarea
          aria-label={options.label}
          readOnly={options.readOnly}
          value={options.text}
          onInput={(event) => options.changed(event.currentTarget.value)}
          spellcheck={false}
        />
      )}
    </div>
  );
}
