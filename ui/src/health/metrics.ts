// Prometheus text, as far as this page needs it.

export interface Metric {
  name: string;
  labels: { [name: string]: string };
  value: number;
}

export function parseMetrics(text: string): Metric[] {
  const found: Metric[] = [];
  for (const line of text.split('\n')) {
    const parts = /^(otelbridge_[a-z_]+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!parts) continue;
    const labels = Object.fromEntries([...(parts[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((one) => [one[1]!, one[2]!.replace(/\\(.)/g, '$1')]));
    found.push({ name: parts[1]!, labels, value: Number(parts[3]) });
  }
  return found;
}

export const values = (metrics: Metric[], name: string): Metric[] => metrics.filter((one) => one.name === name);
