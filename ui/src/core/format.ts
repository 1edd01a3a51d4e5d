// Numbers and times for people.

const pad = (n: number, width = 2): string => String(n).padStart(width, '0');

/** Local time of day with milliseconds, out of ns since 1970 as text. */
export function clock(nanos: string): string {
  const date = new Date(Number(BigInt(nanos) / 1_000_000n));
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

/** Local date and time to the second, out of ms since 1970. */
export function moment(ms: number): string {
  const d = new Date(ms);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1) return `${(ms * 1000).toFixed(0)} µs`;
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  if (ms < 1_000) return `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  if (ms < 7_200_000) return `${(ms / 60_000).toFixed(0)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined) return '–';
  if (n < 1024) return `${n} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let at = -1;
  do {
    n /= 1024;
    at += 1;
  } while (n >= 1024 && at < units.length - 1);
  return `${n.toFixed(n < 10 ? 1 : 0)} ${units[at]}`;
}

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 2 });
export const number = (n: number | null | undefined): string => (n === null || n === undefined ? '–' : grouped.format(n));

/** How long ago, in one unit. */
export function ago(ms: number, now = Date.now()): string {
  const s = Math.max(0, (now - ms) / 1000);
  if (s < 2) return 'now';
  if (s < 60) return `${s.toFixed(0)} s ago`;
  if (s < 3_600) return `${(s / 60).toFixed(0)} min ago`;
  if (s < 86_400) return `${(s / 3_600).toFixed(0)} h ago`;
  return `${(s / 86_400).toFixed(0)} d ago`;
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${number(n)} ${n === 1 ? one : many}`;

/** A value as one would write it in JSON; texts as they are. */
export const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
