// Small parts that all pages use.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from '../core/api';
import type { Level } from '../core/types';

/** A page's head: its name, and what one can do there. */
export function Head({ title, children }: { title: ComponentChildren; children?: ComponentChildren }) {
  return (
    <header class="head">
      <h1>{title}</h1>
      <div class="head-rest">{children}</div>
    </header>
  );
}

/** What stands where nothing is yet: what it would be, and how to get some. */
export function Empty({ title, curl, children }: { title: string; curl?: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {curl && <Command text={curl} />}
    </div>
  );
}

/** A command line to copy. */
export function Command({ text }: { text: string }) {
  return (
    <div class="command">
      <pre tabIndex={0}>{text}</pre>
      <Copy text={() => text} label="Copy" />
    </div>
  );
}

export function Copy({ text, label, title }: { text: () => string; label: string; title?: string }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 1_500);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    <button class="small" title={title} onClick={() => void copy(text()).then(() => setDone(true))}>
      {done ? 'Copied' : label}
    </button>
  );
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https the clipboard is closed to pages; the old way works from a click.
    const area = document.createElement('textarea');
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}

/** An error as the server explains it; for a query, with the place where it goes wrong. */
export function Failure({ error, text, offset = 0 }: { error: Error; text?: string; offset?: number }) {
  const problem = error instanceof ApiError ? error.problem : null;
  const column = problem?.column === undefined ? null : problem.column - offset;
  return (
    <div class="note bad" role="alert">
      <p>
        <b>{problem?.title ?? 'That did not work'}.</b> {problem?.detail ?? error.message}
      </p>
      {text !== undefined && column !== null && column > 0 && <pre class="pointer">{`${text}\n${' '.repeat(column - 1)}^`}</pre>}
      {problem?.error?.stack && <pre class="stack">{problem.error.stack}</pre>}
    </div>
  );
}

export const LevelBadge = ({ level }: { level: Level }) => <span class={`level ${level}`}>{level}</span>;

export function OutcomeBadge({ outcome, status }: { outcome?: string | undefined; status?: number | undefined }) {
  const kind = outcome === undefined ? 'running' : outcome === 'ok' ? (status !== undefined && status >= 500 ? 'bad' : 'good') : /^canceled|Disconnected$/.test(outcome) ? 'left' : 'bad';
  return <span class={`outcome ${kind}`}>{outcome ?? 'running'}</span>;
}

/** A button that is on or off. */
export function Chip(props: { on: boolean; flip(): void; class?: string; title?: string; children: ComponentChildren }) {
  return (
    <button class={`chip ${props.class ?? ''}`} aria-pressed={props.on} title={props.title} onClick={props.flip}>
      {props.children}
    </button>
  );
}

export interface Tab {
  id: string;
  name: ComponentChildren;
}

/** A row of tabs; arrows move between them. */
export function Tabs({ tabs, now, set, label }: { tabs: Tab[]; now: string; set(id: string): void; label: string }) {
  const move = (event: KeyboardEvent): void => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    const next = tabs[(tabs.findIndex((tab) => tab.id === now) + step + tabs.length) % tabs.length];
    if (!step || !next) return;
    event.preventDefault();
    set(next.id);
    (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`[data-tab="${CSS.escape(next.id)}"]`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map((tab) => (
        <button
          key={tab.id}
          role="tab"
          data-tab={tab.id}
          aria-selected={tab.id === now}
          tabIndex={tab.id === now ? 0 : -1}
          onClick={() => set(tab.id)}
        >
          {tab.name}
        </button>
      ))}
    </div>
  );
}

/** A number with its name, as on a dial. */
export function Fact({ name, children, title }: { name: string; children: ComponentChildren; title?: string }) {
  return (
    <div class="fact" title={title}>
      <span class="fact-name">{name}</span>
      <span class="fact-value">{children}</span>
    </div>
  );
}
