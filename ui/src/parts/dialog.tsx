import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

/** A modal dialog: the browser keeps the focus inside and gives it back. `close` null: it can't be left. */
export function Dialog({ title, close, children }: { title: string; close: (() => void) | null; children: ComponentChildren }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    box.current?.showModal();
  }, []);
  return (
    <dialog
      ref={box}
      aria-label={title}
      onCancel={(event) => (close ? undefined : event.preventDefault())}
      onClose={() => close?.()}
      onClick={(event) => event.target === box.current && close?.()}
    >
      <div class="dialog">
        <header>
          <h2>{title}</h2>
          {close && (
            <button class="quiet" aria-label="Close" onClick={() => box.current?.close()}>
              ✕
            </button>
          )}
        </header>
        {children}
      </div>
    </dialog>
  );
}
