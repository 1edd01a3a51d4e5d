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
    request: undefined, reader: undefined, batch: undefined, awaitingPull: false, ctx: undefined, exports: undefined,
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

/** A class gets its arguments alone, an object of handlers env and ctx behind them. */
function callHandler(target, name, first, ctx) {
  const handler = target[name];
  if (typeof handler !== 'function') {
    if (name === 'fetch') native.console.warn('Received a FetchEvent but we lack a handler for FetchEvents. Did you remember to export a fetch() function?');
    throw new Error(`Handler does not export a ${name}() function.`);
  }
  return target instanceof WorkerEntrypoint ? hostCall(handler, target, first) : hostCall(handler, target, first, workerEnv, ctx);
}
const hostCall = hostUncurry(Function.prototype.call);

function startFetch(owner, target, detail, blob) {
  const bodyKind = detail[3];
  const body = bodyKind === 0 ? null : bodyKind === 1 ? new HostBytes(blob === undefined ? 0 : blob) : 0; // the stream of this number
  // The request makes its signal when somebody asks for it: most workers never do, and it costs 10 us.
  owner.request = makeRequest(detail[0], detail[1], detail[2], body, undefined, detail[4]);
  return callHandler(target, 'fetch', owner.request, owner.ctx);
}
function startRpc(owner, target, detail) {
  const method = detail[0];
  const list = unpackValue(detail[1]);
  const handler = isCallable(target, method) ? target[method] : undefined;
  if (typeof handler !== 'function') throw new TypeError(`The RPC receiver does not implement the method "${method}".`);
  return ReflectApply(handler, target, list);
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
  return callHandler(target, 'scheduled', { cron: detail[0], scheduledTime: detail[1], type: 'scheduled', noRetry() {} }, owner.ctx);
}
function startQueue(owner, target, detail) {
  const queue = detail[0];
  const list = detail[1];
  const batch = { queue, messages: [], acked: hostCreate(null), retried: hostCreate(null), all: '' };
  owner.batch = batch;
  const messages = [];
  for (let i = 0; i < list.length; i++) {
    const { id, body, timestamp, attempts } = list[i];
    messages.push({
      id,
      timestamp: new ValueDate(timestamp),
      attempts,
      body: unpackValue(body),
      ack() { delete batch.retried[id]; batch.acked[id] = true; },
      retry(options) { delete batch.acked[id]; batch.retried[id] = options?.delaySeconds ?? null; },
    });
  }
  return callHandler(target, 'queue', {
    queue,
    messages,
    ackAll() { batch.all = 'ack'; },
    retryAll() { batch.all = 'retry'; },
  }, owner.ctx);
}

function answered(owner, value) {
  if (owner.ended || owner.answered) return;
  try {
    if (owner.kind === 'fetch') return respond(owner, value);
    if (owner.kind === 'rpc') hostSend(hostList('result'), hostStringify(packValue(value, 0)));
    else if (owner.kind === 'queue') {
      const { acked, retried, all } = owner.batch;
      hostSend(hostList('result'), hostStringify(hostRecord({ acked, retried, all })));
    } else hostSend(hostList('result'), 'null');
  } catch (e) {
    return failed(owner, e);
  }
  owner.answered = owner.bodyDone = true;
  finish(owner);
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
  reportException(e, true);
  const thrown = describeThrown(e);
  hostSend(hostList('broken', thrown.name, thrown.message, thrown.stack === undefined ? null : thrown.stack));
  owner.bodyDone = true;
  finish(owner);
}

function failed(owner, e) {
  if (owner.ended || owner.answered) return;
  reportException(e, true);
  const thrown = describeThrown(e);
  hostSend(hostList('thrown', thrown.name, thrown.message, thrown.stack === undefined ? null : thrown.stack, owner.passThrough));
  owner.answered = owner.bodyDone = true;
  finish(owner);
}
let opsBefore = 0;
/** The invocation ends with its response sent, its body read and nothing in waitUntil(). Whether it did now. */
function end(owner) {
  if (owner.ended || !owner.answered || !owner.bodyDone || owner.waits > 0) return false;
  owner.ended = true;
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
  if (end(owner)) hostSend(hostList('done'));
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
