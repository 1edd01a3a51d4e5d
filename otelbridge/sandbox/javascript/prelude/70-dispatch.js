// One invocation at a time: from the host's "invoke" to "done", with everything in between.

class ExecutionContext {
  #invocation;
  constructor(owner, props) {
    this.#invocation = owner;
    this.props = props;
  }
  get exports() {
    return (this.#invocation.exports ??= exportStubs());
  }
  waitUntil(promise) {
    const owner = this.#invocation;
    if (owner.ended) return;
    owner.waits++;
    hostAfter(promise, () => waited(owner), (e) => {
      if (!owner.ended) reportException(e);
      waited(owner);
    });
  }
  passThroughOnException() {
    this.#invocation.passThrough = true;
  }
  get tracing() {
    return tracing;
  }
}
function waited(owner) {
  owner.waits--;
  finish(owner);
}
function needInvocation() {
  if (invocation === undefined) throw new Error('There is no invocation to do this in.');
  return invocation;
}
/** Stubs of this worker's own entrypoints; each call is an invocation of its own. */
function exportStubs() {
  const stubs = {};
  const names = valueKeys(mainExports);
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    const stub = (options) => makeFetcher(hostStringify(hostList('self', name, packValue(options?.props ?? {}, 0))));
    valueDefine(stubs, name, member(stub));
  }
  return stubs;
}

function invoke(kind, entrypoint, props, detail, blob) {
  const owner = (invocation = {
    kind, waits: 0, ended: false, passThrough: false, answered: false, bodyDone: false,
    request: undefined, reader: undefined, batch: undefined, awaitingPull: false, ctx: undefined, exports: undefined, faults: 0, noRetry: false,
  });
  lastSpan = 0;
  unhandledCount = 0; // what an earlier invocation left behind is not of this one
  owner.ctx = new ExecutionContext(owner, unpackValue(props));
  let result;
  if (kind === 'fetch' && entrypoint === null && !hostHas(mainExports, 'default')) {
    // As in workerd: without a default export the request goes on to the network.
    hostSend(hostList('forward'));
    owner.answered = owner.bodyDone = true;
    return finish(owner);
  }
  try {
    result = starts[kind](owner, findEntrypoint(entrypoint, owner.ctx), detail, blob);
  } catch (e) {
    return failed(owner, e);
  }
  hostAfter(result, (value) => answered(owner, value), (e) => failed(owner, e));
}

function findEntrypoint(name, ctx) {
  const key = name === null ? 'default' : name;
  if (!hostHas(mainExports, key)) {
    throw new Error(name === null ? 'Worker has no default entrypoint.' : `Worker has no such entrypoint: ${name}`);
  }
  const found = mainExports[key];
  if (typeof found !== 'function') return found;
  if (found.prototype instanceof WorkerEntrypoint || found.prototype instanceof DurableObject) return new found(ctx, workerEnv);
  throw new TypeError(`The export '${key}' is a function; a handler is an object with fetch() or a class that extends WorkerEntrypoint.`);
}
const starts = hostRecord({ fetch: startFetch, rpc: startRpc, scheduled: startScheduled, queue: startQueue });

/** Classes get env and ctx as well, as in workerd. */
function callHandler(target, name, first, ctx) {
  const handler = target[name];
  if (typeof handler !== 'function') {
    const missing = missingHandlers[name];
    nativeWarn(missing[0]);
    throw new Error(missing[1]);
  }
  return hostCall(handler, target, first, workerEnv, ctx);
}
// workerd's words, also where they differ from one another
const missingHandlers = hostRecord({
  fetch: hostList(
    'Received a FetchEvent but we lack a handler for FetchEvents. Did you remember to export a fetch() function?',
    'Handler does not export a fetch() function.',
  ),
  scheduled: hostList(
    'Received a ScheduledEvent but we lack a handler for ScheduledEvents (a.k.a. Cron Triggers). Did you remember to export a scheduled() function?',
    'Handler does not export a scheduled() function',
  ),
  queue: hostList(
    'Received a QueueEvent but we lack a handler for QueueEvents. Did you remember to export a queue() function?',
    'Handler does not export a queue() function.',
  ),
});
const nativeWarn = native.console.warn; // the worker may replace the property
const hostCall = hostUncurry(Function.prototype.call);

function startFetch(owner, target, detail, blob) {
  const bodyKind = detail[3];
  const body = bodyKind === 0 ? null : bodyKind === 1 ? new HostBytes(blob === undefined ? 0 : blob) : 0; // the stream of this number
  // The request makes its signal when somebody asks for it: most workers never do, and it costs 10 us.
  owner.request = makeRequest(detail[0], detail[1], detail[2], body, undefined, detail[4]);
  const result = callHandler(target, 'fetch', owner.request, owner.ctx);
  if (!isResponse(result) && (typeof result !== 'object' || result === null || typeof result.then !== 'function')) {
    throw new TypeError("Callback returned incorrect type; expected 'Promise'");
  }
  return result;
}
function startRpc(owner, target, detail) {
  const method = detail[0];
  const list = unpackValue(detail[1]);
  const handler = isCallable(target, method) ? target[method] : undefined;
  if (typeof handler !== 'function') throw new TypeError(`The RPC receiver does not implement the method "${method}".`);
  if (target instanceof WorkerEntrypoint) return ReflectApply(handler, target, list);
  if (list.length !== 1) {
    throw new TypeError(
      `Attempted to call RPC function "${method}" with the wrong number of arguments. When calling a top-level handler function that is not ` +
        'declared as part of a class, you must always send exactly one argument. In order to support variable numbers of arguments, the server ' +
        'must use class-based syntax (extending WorkerEntrypoint) instead.',
    );
  }
  return hostCall(handler, target, list[0], workerEnv, owner.ctx);
}
/** Callers reach the methods of the worker's classes, or the members of an object of handlers; nothing that these inherit. */
function isCallable(target, method) {
  if (!(target instanceof WorkerEntrypoint)) return hostHas(target, method);
  if (method === 'constructor' || hostHas(target, method)) return false;
  let proto = ObjectGetPrototypeOf(target);
  while (proto !== null && proto !== WorkerEntrypoint.prototype && !hostHas(proto, method)) proto = ObjectGetPrototypeOf(proto);
  return proto !== null && proto !== WorkerEntrypoint.prototype;
}
function startScheduled(owner, target, detail) {
  owner.noRetry = typeof target.scheduled !== 'function';
  return callHandler(target, 'scheduled', new ScheduledController(internal, owner, detail[1], detail[0]), owner.ctx);
}
class ScheduledController {
  #owner;
  constructor(token, owner, scheduledTime, cron) {
    if (token !== internal) throw new TypeError('Illegal constructor');
    this.#owner = owner;
    this.cron = cron;
    this.scheduledTime = scheduledTime;
  }
  noRetry() {
    this.#owner.noRetry = true;
  }
}
tag(ScheduledController);

function startQueue(owner, target, detail) {
  owner.batch = new QueueBatch(internal, detail[0], detail[1]);
  return callHandler(target, 'queue', owner.batch, owner.ctx);
}
let batchResult;
class QueueBatch {
  #acked = hostCreate(null);
  #retried = hostCreate(null);
  #all = '';
  #delay = null;
  constructor(token, queue, list) {
    if (token !== internal) throw new TypeError('Illegal constructor');
    const messages = [];
    for (let i = 0; i < list.length; i++) valueDefine(messages, i, member(new QueueMessage(internal, this, list[i])));
    this.metadata = { metrics: { backlogCount: 0, backlogBytes: 0 } };
    this.queue = queue;
    this.messages = messages;
  }
  ackAll() {
    if (this.#all === 'retry') noEffect('ackAll() ', 'retryAll', 'ackAll()');
    else this.#all = 'ack';
  }
  retryAll(options = undefined) {
    if (this.#all === 'ack') return noEffect('retryAll() ', 'ackAll', 'retryAll()');
    this.#all = 'retry';
    this.#delay = options?.delaySeconds ?? null;
  }
  static ack(token, batch, id) {
    if (batch.#all === 'ack') return;
    const why = batch.#all === 'retry' ? 'retryAll' : hostHas(batch.#retried, id) ? 'retry' : '';
    if (why !== '') return noEffect('ack() on message ' + id + ' ', why, 'ack() on a message');
    batch.#acked[id] = true;
  }
  static retry(token, batch, id, options) {
    const why = batch.#all === 'ack' ? 'ackAll' : hostHas(batch.#acked, id) ? 'ack' : '';
    if (why !== '') return noEffect('retry() on message ' + id + ' ', why, 'retry() on a message');
    const delay = options?.delaySeconds;
    if (delay !== undefined || !hostHas(batch.#retried, id)) batch.#retried[id] = delay ?? null;
  }
  static {
    batchResult = (batch) => hostRecord({ acked: batch.#acked, retried: batch.#retried, all: batch.#all, delay: batch.#delay });
  }
}
const batchAck = QueueBatch.ack;
const batchRetry = QueueBatch.retry;
delete QueueBatch.ack;
delete QueueBatch.retry;
ObjectDefineProperty(QueueBatch.prototype, SymbolToStringTag, { __proto__: null, value: 'QueueController', configurable: true });

class QueueMessage {
  #batch;
  constructor(token, batch, given) {
    if (token !== internal) throw new TypeError('Illegal constructor');
    this.#batch = batch;
    this.attempts = given.attempts;
    this.body = unpackValue(given.body);
    this.timestamp = new ValueDate(given.timestamp);
    valueDefine(this, 'id', hostRecord({ value: given.id, writable: false, enumerable: true, configurable: false }));
  }
  ack() { batchAck(internal, this.#batch, this.id); }
  retry(options = undefined) { batchRetry(internal, this.#batch, this.id, options); }
}
tag(QueueMessage);
function noEffect(called, before, what) {
  nativeWarn(`Received a call to ${called}after ${before}() was already called. Calling ${what} after calling ${before}() has no effect.`);
}
function tag(Class) {
  ObjectDefineProperty(Class.prototype, SymbolToStringTag, { __proto__: null, value: Class.name, configurable: true });
}
tag(ExecutionContext);

function answered(owner, value) {
  if (owner.ended || owner.answered) return;
  try {
    if (owner.kind === 'fetch') return respond(owner, value);
    if (owner.kind === 'rpc') hostSend(hostList('result'), hostStringify(packValue(value, 0)));
    else hostSend(hostList('result'), triggerResult(owner));
  } catch (e) {
    return failed(owner, e);
  }
  owner.answered = owner.bodyDone = true;
  finish(owner);
}

/** Whether any exception, also one in waitUntil() or a timer, fails the invocation: nobody waits for its answer. */
function isTrigger(owner) {
  return owner.kind === 'scheduled' || owner.kind === 'queue';
}
/** What scheduled() and queue() leave behind, also when they throw. */
function triggerResult(owner) {
  return hostStringify(owner.kind === 'queue' ? (owner.batch === undefined ? null : batchResult(owner.batch)) : hostRecord({ noRetry: owner.noRetry }));
}

function respond(owner, response) {
  if (!isResponse(response)) throw new TypeError("Incorrect type for Promise: the Promise did not resolve to 'Response'.");
  const source = bodySource(response);
  const head = responseHead(response); // [status, statusText, headers]
  if (source.kind === 'stream') {
    owner.reader = StreamGetReader(source.stream);
    owner.answered = true;
    native.respond(head[0], head[1], head[2], 2, false, undefined);
    return pump(owner);
  }
  owner.answered = owner.bodyDone = true;
  const done = end(owner); // said in the same message: most invocations end with their response
  const body = source.kind === 'empty' ? undefined : source.kind === 'text' ? source.text : source.view;
  native.respond(head[0], head[1], head[2], body === undefined ? 0 : 1, done, body);
}
/** Send the next chunk of the body; the host asks for one at a time. */
function pump(owner) {
  owner.awaitingPull = false;
  hostAfter(ReaderRead(owner.reader), (step) => {
    if (owner.ended || owner.bodyDone) return;
    if (step.done) {
      hostSend(hostList('end'));
      owner.bodyDone = true;
      return finish(owner);
    }
    const chunk = step.value;
    if (!ArrayBufferIsView(chunk) && native.classOf(chunk) !== 'ArrayBuffer') {
      return broken(owner, new TypeError('This ReadableStream did not return bytes.'));
    }
    hostSend(hostList('body'), chunk);
    owner.awaitingPull = true;
  }, (e) => broken(owner, e));
}
function broken(owner, e) {
  if (owner.ended || owner.bodyDone) return;
  const thrown = reportException(e, true);
  hostSend(hostList('broken', thrown.name, thrown.whole, thrown.stack === undefined ? null : thrown.stack));
  owner.bodyDone = true;
  finish(owner);
}

function failed(owner, e) {
  if (owner.ended || owner.answered) return;
  const thrown = reportException(e, true);
  const left = isTrigger(owner) ? triggerResult(owner) : undefined;
  hostSend(hostList('thrown', thrown.name, thrown.whole, thrown.stack === undefined ? null : thrown.stack, owner.passThrough), left);
  owner.answered = owner.bodyDone = true;
  finish(owner);
}
let opsBefore = 0;
/** The invocation ends with its response sent, its body read and nothing in waitUntil(). Whether it did now. */
function end(owner) {
  if (owner.ended || !owner.answered || !owner.bodyDone || owner.waits > 0) return false;
  owner.ended = true;
  owner.ctx = undefined; // the two hold each other: only the collector would free them
  if (invocation !== owner) return false;
  invocation = undefined;
  // The numbers go on: an AbortController that outlives its invocation must not cancel an operation of the next one.
  if (lastOp !== opsBefore) {
    clearAllTimers();
    dropOps();
    opsBefore = lastOp;
  }
  return true;
}
function finish(owner) {
  if (end(owner)) hostSend(hostList('done', isTrigger(owner) ? owner.faults : 0));
}
/** Nobody waits for the response any more: the handler is left where it is, waitUntil() work goes on. */
function abandon(reason) {
  const owner = invocation;
  if (owner === undefined) return;
  if (owner.request !== undefined) signalAbort(owner.request.signal, new DOMException(reason, 'AbortError'));
  if (owner.reader !== undefined && !owner.bodyDone) hostAfter(ReaderCancel(owner.reader, reason), undefined, () => {});
  owner.awaitingPull = false;
  owner.answered = owner.bodyDone = true;
  finish(owner);
}

// ---------------------------------------------------------------------------------------------------------- hooks

const unhandled = hostList();
let unhandledCount = 0;

native.hooks.rejected = (promise, reason, handled) => {
  if (!handled) {
    unhandled[unhandledCount++] = hostList(promise, reason);
    return;
  }
  for (let i = 0; i < unhandledCount; i++) {
    if (unhandled[i][0] === promise) {
      unhandled[i] = unhandled[--unhandledCount];
      return;
    }
  }
};

native.hooks.receive = (json, blob) => {
  const message = hostParse(json);
  switch (message[0]) {
    case 'op': return hostAnswer(message[1], message[2], message[3], blob);
    case 'invoke': return invoke(message[1], message[2], message[3], message[4], blob);
    case 'pull': return invocation !== undefined && invocation.awaitingPull ? pump(invocation) : undefined;
    case 'abandon': return abandon(message[1]);
    case 'module': return addModule(message[1], message[2], blob);
    case 'load': return load(message[1], unpackValue(message[2]));
  }
};

native.hooks.settle = () => {
  for (let n = unhandledCount, i = 0; i < n && unhandledCount > 0; i++) {
    const entry = unhandled[0];
    unhandled[0] = unhandled[--unhandledCount];
    dispatchGlobal(new PromiseRejectionEvent('unhandledrejection', hostRecord({ promise: entry[0], reason: entry[1] })));
  }
  return pendingCount + (invocation !== undefined && invocation.awaitingPull ? 1 : 0);
};
