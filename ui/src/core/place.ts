// Where we are: the address holds the whole view, so that back, reload and a shared link all show the same.
import { useValue, Value } from './value';

export interface Place {
  path: string;
  params: URLSearchParams;
}

export type Changes = Record<string, string | string[] | null | undefined>;

const read = (): Place => ({ path: location.pathname, params: new URLSearchParams(location.search) });

export const place = new Value<Place>(read());

/** Go to an address of ours. `replace`: without an entry in the history, for what changes while one types. */
export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  place.set(read());
}

/** A path with parameters; those without a value are left out. */
export function address(path: string, params: Changes = {}): string {
  const text = merged(new URLSearchParams(), params).toString();
  return text ? `${path}?${text}` : path;
}

/** Change parameters of the view that is shown. */
export function change(changes: Changes, replace = false): void {
  const text = merged(place.get().params, changes).toString();
  go(location.pathname + (text ? `?${text}` : ''), replace);
}

function merged(before: URLSearchParams, changes: Changes): URLSearchParams {
  const params = new URLSearchParams(before);
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one) params.append(name, one);
  }
  return params;
}

export const usePlace = (): Place => useValue(place);

/** Links of ours change the page without loading it again. */
export function followLinks(): void {
  addEventListener('popstate', () => place.set(read()));
  addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const to = link.getAttribute('href') ?? '';
    if (!/^\/(?!w\/|v1\/|ui\/|openapi|metrics)/.test(to) || link.target || link.hasAttribute('download')) return;
    event.preventDefault();
    go(to);
  });
}
