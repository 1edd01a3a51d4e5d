// Keyboard: components say which keys they take while they are shown; `?` lists them all.
import { useEffect, useRef } from 'preact/hooks';

export interface Key {
  /** As in KeyboardEvent.key; "g l" is one after the other; "Mod+Enter" also with Command. */
  key: string;
  label: string;
  run(event: KeyboardEvent): void;
  /** Also while one types. */
  always?: boolean;
}

const layers: { keys: Key[] }[] = [];
let first = '';
let timer = 0;

export const allKeys = (): Key[] => layers.flatMap((layer) => layer.keys);

/** Keys for as long as the component is there. Those of inner components win. */
export function useKeys(keys: Key[]): void {
  const layer = useRef({ keys });
  layer.current.keys = keys;
  useEffect(() => {
    const own = layer.current;
    layers.push(own);
    return () => void layers.splice(layers.indexOf(own), 1);
  }, []);
}

function isTyping(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  if (!(target instanceof HTMLElement)) return false;
  const quiet = target instanceof HTMLInputElement && /^(checkbox|radio|button|range)$/.test(target.type);
  return target.isContentEditable || (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !quiet);
}

export function listenToKeys(): void {
  addEventListener('keydown', (event) => {
    if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
    const mod = event.ctrlKey || event.metaKey;
    if (event.altKey || (mod && event.key !== 'Enter')) return;
    const name = mod ? `Mod+${event.key}` : event.key;
    const typing = isTyping(event);
    const wanted = [`${first} ${name}`, name];
    clearTimeout(timer);
    first = '';
    for (const one of wanted) {
      const found = allKeys().findLast((key) => key.key === one && (!typing || key.always || mod));
      if (!found) continue;
      event.preventDefault();
      found.run(event);
      return;
    }
    if (!typing && allKeys().some((key) => key.key.startsWith(`${name} `))) {
      first = name;
      timer = window.setTimeout(() => (first = ''), 1_000);
    }
  });
}
