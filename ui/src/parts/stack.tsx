// Stack traces with positions to click.
import type { ErrorInfo } from '../core/types';

/** The stacks of the errors among a console call's arguments: its text has only their names and messages. */
export const loggedStacks = (infos: ErrorInfo[] | undefined): string[] => (infos ?? []).flatMap((info) => (info?.stack ? [info.stack] : []));

const PLACE = /([\w./@-]+\.[mc]?js):(\d+):(\d+)/g;

export function Stack({ text, files, open }: { text: string; files: string[]; open(file: string, line: number, column: number): void }) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(PLACE)) {
    const [place, file = '', line, column] = found;
    if (!files.includes(file)) continue;
    parts.push(text.slice(at, found.index));
    parts.push(
      <button class="link mono" key={found.index} onClick={() => open(file, Number(line), Number(column))}>
        {place}
      </button>,
    );
    at = found.index + place.length;
  }
  parts.push(text.slice(at));
  return <pre class="stack">{parts}</pre>;
}
