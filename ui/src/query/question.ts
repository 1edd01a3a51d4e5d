// A question of the query builder: its form in the address, and as the request that is sent.
import { fullQuery, searchOf, spanOf, type Search } from '../core/search';
import { niceBucket } from '../logs/histogram';

export const OPERATORS = ['count', 'countDistinct', 'sum', 'avg', 'min', 'max', 'median', 'p75', 'p90', 'p95', 'p99', 'p999', 'stddev', 'variance'] as const;
export const OPERATIONS = {
  eq: 'is',
  neq: 'is not',
  includes: 'contains',
  not_includes: 'does not contain',
  starts_with: 'begins with',
  regex: 'fits the pattern',
  gt: '>',
  gte: '≥',
  lt: '<',
  lte: '≤',
  exists: 'is there',
  is_null: 'is not there',
} as const;
export type Operation = keyof typeof OPERATIONS;

export interface Calculation {
  operator: string;
  key: string;
}

export interface Filter {
  key: string;
  operation: Operation;
  value: string;
}

export interface Question {
  search: Search;
  calculations: Calculation[];
  groupBy: string[];
  filters: Filter[];
  chart: 'line' | 'bars' | 'table';
  compare: boolean;
  limit: number;
  having: string;
}

export function questionOf(params: URLSearchParams): Question {
  const chart = params.get('chart');
  return {
    search: searchOf(params),
    calculations: (params.getAll('calc').length ? params.getAll('calc') : ['count']).map((text) => {
      const [operator = 'count', key = ''] = text.split(/[()]/);
      return { operator, key };
    }),
    groupBy: params.getAll('by'),
    filters: params.getAll('filter').map((text) => {
      const [key = '', operation = 'eq', ...rest] = text.split('~');
      return { key, operation: (operation in OPERATIONS ? operation : 'eq') as Operation, value: rest.join('~') };
    }),
    chart: chart === 'bars' || chart === 'table' ? chart : 'line',
    compare: params.get('compare') === '1',
    limit: Number(params.get('limit')) || 10,
    having: params.get('having') ?? '',
  };
}

export const calcText = ({ operator, key }: Calculation): string => (operator === 'count' || !key ? operator : `${operator}(${key})`);
export const filterText = ({ key, operation, value }: Filter): string => `${key}~${operation}~${value}`;

/** What is usable of a form that is being filled in. */
export const whole = (calculations: Calculation[]): Calculation[] => calculations.filter((one) => one.operator === 'count' || one.key);

/** The request for POST /v1/query. `over` time: in buckets; else one row per group. */
export function bodyOf(question: Question, over: boolean, now = Date.now()): Record<string, unknown> {
  const { search, groupBy, compare } = question;
  const { since, until } = spanOf(search, now);
  const calculations = whole(question.calculations).map(({ operator, key }) => ({ operator, ...(operator === 'count' ? {} : { key }) }));
  const first = calcText(whole(question.calculations)[0] ?? { operator: 'count', key: '' });
  const having = /^\s*(>=|<=|>|<|=)\s*(-?[\d.]+)\s*$/.exec(question.having);
  const signs: Record<string, string> = { '>': 'gt', '>=': 'gte', '<': 'lt', '<=': 'lte', '=': 'eq' };
  const q = fullQuery(search);
  return {
    view: 'calculations',
    ...(q ? { q } : {}),
    ...(since === null ? {} : { since, until }),
    ...(question.filters.length ? { filters: question.filters.filter((one) => one.key).map(toFilter) } : {}),
    calculations,
    ...(groupBy.length ? { groupBy } : {}),
    ...(over ? { bucketMs: bucketOf(since, until) } : { orderBy: { value: first, order: 'desc' }, limit: question.limit }),
    ...(having && !over ? { having: [{ calculation: first, operation: signs[having[1]!], value: Number(having[2]) }] } : {}),
    ...(compare && since !== null ? { compare: true } : {}),
  };
}

export const bucketOf = (since: number | null, until: number): number => niceBucket(until - (since ?? until - 7 * 864e5), 60);

function toFilter({ key, operation, value }: Filter): object {
  if (operation === 'exists' || operation === 'is_null') return { key, operation };
  const plain = /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value === 'true' ? true : value === 'false' ? false : value;
  return { key, operation, value: /^(includes|not_includes|starts_with|regex)$/.test(operation) ? value : plain };
}
