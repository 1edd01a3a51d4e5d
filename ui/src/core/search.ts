// The parts of a search that pages share: its text, its time range and its chips, and the request they make.
import type { Changes } from './place';

export interface Search {
  q: string;
  /** A duration back from now as text, or ms since 1970. */
  since: string;
  until: string;
  levels: string[];
  outcomes: string[];
}

export const RANGES = [
  ['15m', '15 minutes'],
  ['1h', '1 hour'],
  ['6h', '6 hours'],
  ['24h', '24 hours'],
  ['7d', '7 days'],
  ['', 'All'],
] as const;

export function searchOf(params: URLSearchParams, usual = '1h'): Search {
  return {
    q: params.get('q') ?? '',
    since: params.get('since') ?? usual,
    until: params.get('until') ?? '',
    levels: params.getAll('level'),
    outcomes: params.getAll('outcome'),
  };
}

/** The query that chips and text ask together. The text comes first, so that columns of errors are its own, plus offsetOf(). */
export function fullQuery({ q, levels, outcomes }: Pick<Search, 'q' | 'levels' | 'outcomes'>): string {
  const chips = [anyOf('level', levels), anyOf('outcome', outcomes)].filter(Boolean).join(' ');
  if (!q.trim() || !chips) return q.trim() ? q : chips;
  return offsetOf({ q, levels, outcomes }) ? `(${q}) ${chips}` : `${q} ${chips}`;
}

/** By how much columns are larger than in the text that one typed: it needs parentheses only where an OR would reach the chips. */
export const offsetOf = ({ q, levels, outcomes }: Pick<Search, 'q' | 'levels' | 'outcomes'>): number =>
  /(^|\s|\))OR(\s|\(|$)/.test(q) && (levels.length || outcomes.length) ? 1 : 0;

const anyOf = (field: string, values: string[]): string =>
  values.length > 1 ? `(${values.map((value) => `${field}:${value}`).join(' OR ')})` : values.map((value) => `${field}:${value}`).join('');

/** Parameters of a request for records or invocations. */
export function requestOf(search: Search, more: Record<string, string> = {}): URLSearchParams {
  const params = new URLSearchParams(more);
  const q = fullQuery(search);
  if (q) params.set('q', q);
  if (search.since && search.since !== 'all') params.set('since', search.since);
  if (search.until) params.set('until', search.until);
  return params;
}

const UNITS: Record<string, number> = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** Beginning and end in ms since 1970; null where the range is open. */
export function spanOf(search: Search, now = Date.now()): { since: number | null; until: number } {
  const point = (text: string): number | null => {
    const found = /^(\d+)([smhd])$/.exec(text);
    if (found) return now - Number(found[1]) * UNITS[found[2]!]!;
    return text && text !== 'all' ? Number(text) : null;
  };
  return { since: point(search.since), until: point(search.until) ?? now };
}

/** A query with one more condition, or with its opposite. */
export function narrowed(q: string, name: string, value: unknown, out: boolean, structured: boolean): string {
  return `${q} ${condition(name, value, out, structured)}`.trim();
}

function condition(name: string, value: unknown, out: boolean, structured: boolean): string {
  const text = typeof value === 'string' ? quoted(value) : JSON.stringify(value);
  if (!structured) return `${out ? '-' : ''}${name}:${text}`;
  return `${quotedName(name)}${out ? '!=' : '='}${text}`;
}

export const quoted = (text: string): string => (/^[\p{L}\p{N}_.\-/@+%]+$/u.test(text) && !/^-/.test(text) ? text : JSON.stringify(text));
const quotedName = (name: string): string => (/^[\p{L}\p{N}_.\-$@]+$/u.test(name) ? name : JSON.stringify(name));

export const flip = (values: string[], one: string): string[] => (values.includes(one) ? values.filter((value) => value !== one) : [...values, one]);

/** Changes of the address that leave the view as it is but for what they name; an opened row is left. */
export const anew = (changes: Changes): Changes => ({ row: null, ...changes });
