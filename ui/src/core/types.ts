// Shapes of the HTTP API, as /openapi.json describes them.

export type Level = 'debug' | 'log' | 'info' | 'warn' | 'error';
export const LEVELS: readonly Level[] = ['error', 'warn', 'info', 'log', 'debug'];

export const OUTCOMES = [
  'ok',
  'exception',
  'exceededCpu',
  'exceededMemory',
  'exceededWallTime',
  'canceled',
  'responseStreamDisconnected',
  'loadShed',
  'internalError',
] as const;

/** One record of the logs; members without a value are left out. */
export interface Record_ {
  id: string;
  time: string;
  timeUnixNano: string;
  kind: 'log' | 'exception' | 'invocation' | 'bridge';
  level: Level;
  text: string;
  workerId?: string;
  workerVersion?: string;
  invocationId?: string;
  traceId?: string;
  spanId?: string;
  sequence?: number;
  message?: unknown[];
  fields?: { [name: string]: unknown };
  outcome?: string;
  method?: string;
  url?: string;
  path?: string;
  status?: number;
  exception?: { type: string; message: string; stack?: string };
  /** Of a console call with errors among its arguments: for each argument what is known of it. */
  errorInfo?: ErrorInfo[];
  wallMs?: number;
  cpuMs?: number;
  memoryBytes?: number;
  coldStart?: boolean;
}

export interface Invocation {
  invocationId: string;
  workerId: string;
  workerVersion: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  time: string;
  timeUnixNano: string;
  trigger: string;
  text: string;
  method?: string;
  url?: string;
  path?: string;
  status?: number;
  outcome?: string;
  failed?: boolean;
  wallMs?: number;
  cpuMs?: number;
  memoryBytes?: number;
  coldStart?: boolean;
  logs: number;
  exceptions: number;
}

export type ErrorInfo = { name?: string; message?: string; stack?: string } | null;

export interface TraceLog {
  timestamp: number;
  level: Level;
  message: unknown[];
  errorInfo?: ErrorInfo[];
}

export interface TraceException {
  timestamp: number;
  name: string;
  message: string;
  stack?: string;
}

export interface Subrequest {
  kind: string;
  method: string;
  url: string;
  timestamp: number;
  durationMs: number;
  spanId: string;
  status?: number;
  error?: string;
}

/** Of one invocation, with Cloudflare's member names. */
export interface TraceItem {
  event: {
    request?: { method: string; url: string; headers: { [name: string]: string }; cf?: { clientIp?: string } };
    response?: { status: number };
    rpcMethod?: string;
    cron?: string;
    queue?: string;
  };
  eventTimestamp: number;
  logs: TraceLog[];
  exceptions: TraceException[];
  diagnosticsChannelEvents: { timestamp: number; channel: string; message: unknown }[];
  outcome?: string;
  truncated: boolean;
  cpuTime?: number;
  wallTime?: number;
  entrypoint?: string;
  workerId: string;
  workerVersion: string;
  invocationId: string;
  traceId: string;
  spanId: string;
  coldStart: boolean;
  subrequests: Subrequest[];
  memoryBytes: number;
  dropped: { logs: number; exceptions: number; bytes: number };
  /** Of a stored invocation only. */
  spans?: { number: number; parent: number; name: string; startTimeUnixNano: string; endTimeUnixNano?: string; attributes?: object }[];
  timing?: {
    startTimeUnixNano: string;
    endTimeUnixNano?: string;
    wallMs?: number;
    cpuMs?: number;
    queueMs?: number;
    /** Of `subrequests`, in their order. */
    subrequestStarts?: string[];
    load?: { startTimeUnixNano: string; endTimeUnixNano: string; compileMs: number };
  };
  /** Once it has ended. A time that is left out is no longer known. */
  tail?: {
    spooledTimeUnixNano?: string;
    storedTimeUnixNano?: string;
    calls?: { name: string; startTimeUnixNano: string; endTimeUnixNano?: string; error?: string }[];
  };
  exports?: ExportPassage[];
}

/** The way of an invocation's records to one destination. */
export interface ExportPassage {
  destination: string;
  signal: 'logs' | 'spans';
  state: 'delivered' | 'queued' | 'rejected' | 'dropped' | 'nothing' | 'unknown';
  readTimeUnixNano?: string;
  settledTimeUnixNano?: string;
  delivered?: number;
  rejected?: number;
  dropped?: { [reason: string]: number };
  error?: string;
}

export interface RunResult {
  response: { status: number; headers: [string, string][]; body?: string; bodyBase64?: string } | null;
  error: { name: string; message: string; outcome: string; stack?: string } | null;
  logs: TraceLog[];
  exceptions: TraceException[];
  logsState: 'complete' | 'partial' | 'none';
  trace: TraceItem | null;
  timing: { compileMs: number; startMs: number; runMs: number; totalMs: number; coldStart: boolean };
}

export interface Worker {
  workerId: string;
  version: string;
  created: string;
  updated: string;
  mainModule: string;
  modules: { [name: string]: string };
  isolation: string;
  tags: { [name: string]: string };
  limits: { [name: string]: number };
  counters?: { invocations: number; errors: number; p95Ms: number | null; lastSeenNs: number };
  sources?: { [name: string]: string };
  /** What was doubtful when it was loaded. */
  warnings?: string[];
}

export interface CalculationRow {
  groups: { [key: string]: unknown };
  values: { [alias: string]: number | null };
  time?: string;
  /** With compare: the same of the period before. */
  previous?: { [alias: string]: number | null };
}

export interface QueryAnswer {
  calculations?: CalculationRow[];
  nextCursor?: string | null;
  /** Names that no record has, in words. */
  warnings?: string[];
  statistics: { rowsRead: number; elapsedMs: number };
}

export interface Account {
  emitted: number;
  delivered: number;
  queued: number;
  rejected: number;
  dropped: { [reason: string]: number };
}

export interface Exports {
  destinations: {
    name: string;
    protocol: string;
    endpoint: string;
    state: string;
    lastError: string | null;
    lagSeconds: number;
    signals: { [signal: string]: Account };
  }[];
  workers: { workerId: string; logs: Account; spans: Account }[];
  total: { logs: Account; spans: Account };
  bridge: { logs: Account };
  /** Bytes of spools that can't be read; nobody knows how many records they were. */
  damaged: { spool: string; bytes: number }[];
  processes?: { name: string; role: string; state: string; since: string; pid: number }[];
}
