// The shell: navigation, the page that the address names, and what is said about the server as a whole.
import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { allKeys, useKeys } from './core/keys';
import { go, usePlace } from './core/place';
import { theme, type Theme } from './core/theme';
import { useValue } from './core/value';
import { ConnectionNote, TokenDialog } from './parts/connection';
import { Dialog } from './parts/dialog';
import { Empty } from './parts/parts';
import { HealthPage } from './health/page';
import { InvocationPage } from './invocations/invocation';
import { InvocationsPage } from './invocations/page';
import { LogsPage } from './logs/page';
import { PlaygroundPage } from './playground/page';
import { QueryPage } from './query/page';
import { WorkerPage } from './workers/worker';
import { WorkersPage } from './workers/page';

const PAGES: { path: string; name: string; key: string; icon: string; page: ComponentType }[] = [
  { path: '/playground', name: 'Playground', key: 'p', icon: 'M5 4l8 5-8 5z', page: PlaygroundPage },
  { path: '/logs', name: 'Logs', key: 'l', icon: 'M3 4.5h12M3 9h12M3 13.5h8', page: LogsPage },
  { path: '/invocations', name: 'Invocations', key: 'i', icon: 'M2.5 4.5h6M6 9h7M9.5 13.5h6', page: InvocationsPage },
  { path: '/workers', name: 'Workers', key: 'w', icon: 'M3 3.5h5v5H3zM10 3.5h5v5h-5zM3 10.5h5v4H3zM10 10.5h5v4h-5z', page: WorkersPage },
  { path: '/query', name: 'Query', key: 'q', icon: 'M3 15V9M7 15V4M11 15v-4M15 15V6.5', page: QueryPage },
  { path: '/health', name: 'Health', key: 'h', icon: 'M2 9.5h3.5l2-5 3 9 2-4H16', page: HealthPage },
];

export function App() {
  const { path } = usePlace();
  const [help, setHelp] = useState(false);
  useKeys([
    { key: '?', label: 'Show these keys', run: () => setHelp(true) },
    ...PAGES.map((page) => ({ key: `g ${page.key}`, label: `Go to ${page.name}`, run: () => go(page.path) })),
  ]);
  const current = PAGES.find((page) => path === page.path || path.startsWith(`${page.path}/`)) ?? (path === '/' ? PAGES[0] : undefined);
  useEffect(() => {
    document.title = current ? `${current.name} · otelbridge` : 'otelbridge';
  }, [current]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <header class="side">
        <a class="brand" href="/playground">
          <Mark />
          <span>otelbridge</span>
        </a>
        <nav aria-label="Pages">
          {PAGES.map((page) => (
            <a key={page.path} href={page.path} aria-current={page === current ? 'page' : undefined} title={`${page.name} (g ${page.key})`}>
              <svg viewBox="0 0 18 18" aria-hidden="true">
                <path d={page.icon} />
              </svg>
              <span>{page.name}</span>
            </a>
          ))}
        </nav>
        <div class="side-foot">
          <ThemeChoice />
          <button class="quiet" onClick={() => setHelp(true)} title="Keyboard (?)" aria-label="Show the keyboard's keys">
            ?
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <ConnectionNote />
        <Content path={path} page={current?.page} />
      </main>
      <TokenDialog />
      {help && <KeysDialog close={() => setHelp(false)} />}
    </>
  );
}

function Content({ path, page: Page }: { path: string; page: ComponentType | undefined }) {
  const [, room, id] = path.split('/');
  if (room === 'invocations' && id) return <InvocationPage id={decodeURIComponent(id)} key={id} />;
  if (room === 'workers' && id) return <WorkerPage id={decodeURIComponent(id)} key={id} />;
  if (Page) return <Page />;
  return <Empty title="There is no such page">Choose one at the side.</Empty>;
}

function ThemeChoice() {
  const now = useValue(theme);
  return (
    <label class="theme">
      <span class="unseen">Theme</span>
      <select value={now} onChange={(event) => theme.set(event.currentTarget.value as Theme)}>
        <option value="system">System</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}

function KeysDialog({ close }: { close(): void }) {
  const keys = allKeys();
  return (
    <Dialog title="Keyboard" close={close}>
      <dl class="keys">
        {keys.map((key) => (
          <div key={key.key}>
            <dt>
              {(key.key === ' ' ? ['Space'] : key.key.split(/[ +]/)).map((one) => (
                <kbd key={one}>{one === 'Mod' ? 'Ctrl' : one}</kbd>
              ))}
            </dt>
            <dd>{key.label}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" class="mark" aria-hidden="true">
      <path d="M4 24c5-11 19-11 24 0M4 24h24M10 24v-5.5M16 24v-8M22 24v-5.5" />
      <circle cx="16" cy="8" r="3" />
    </svg>
  );
}
