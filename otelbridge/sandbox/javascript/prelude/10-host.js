// The host protocol: messages, operations the host performs, and how errors cross.
//
// Everything that goes into a message is a primitive, or a list or record without a prototype: JSON.stringify asks
// objects for toJSON, and a worker may have put one on Object.prototype or Array.prototype.

const hostParse = JSON.parse;
const hostStringify = JSON.stringify;
const hostSetPrototypeOf = Object.setPrototypeOf;
const hostCreate = Object.create;
const HostPromise = Promise;
const hostString = String;
const hostUncurry = Function.prototype.bind.bind(Function.prototype.call);
const hostThen = hostUncurry(Promise.prototype.then);
const hostResolve = Promise.resolve.bind(Promise);
const hostIndexOf = hostUncurry(String.prototype.indexOf);
const hostSlice = hostUncurry(String.prototype.slice);
const hostCharCode = hostUncurry(String.prototype.charCodeAt);
const hostIds = new WeakMap();
const hostGetId = hostIds.get.bind(hostIds);
const hostSetId = hostIds.set.bind(hostIds);
const hostErrors = hostSetPrototypeOf({ Error, TypeError, RangeError, SyntaxError, ReferenceError, URIError, EvalError }, null);

/** A list whose members no tampered prototype can intercept. */
function hostList(...items) {
  return hostSetPrototypeOf(items, null);
}
/** The same for a record written as an object literal. */
function hostRecord(members) {
  return hostSetPrototypeOf(members, null);
}
/** Send a message: a hostList() and, if given, a string or bytes. */
function hostSend(message, blob) {
  native.send(hostStringify(message), blob);
}

/**
 * Call one of two functions when a value, or what it promises, is there. Nothing of the worker's runs in between but its
 * own `then`: Promise.prototype.then would ask Symbol.species for a class, which a worker may have replaced.
 */
function hostAfter(value, resolved, rejected) {
  let promise;
  try {
    promise = hostResolve(value);
  } catch (e) {
    return rejected(e); // its `constructor` is a getter that throws
  }
  native.then(promise, resolved, rejected);
}

// A call site hands out the functions on the stack, and ours are among them. V8 gives none of strict code either.
Error.prepareStackTrace = (_, sites) => sites;
delete ObjectGetPrototypeOf(new Error().stack[0]).getFunction;
Error.prepareStackTrace = undefined;

let moduleScope = true;
native.atModuleScope = () => moduleScope;

/** The invocation that runs, or undefined: see 70-dispatch.js. */
let invocation;

// ---------------------------------------------------------------------------------------------------- operations

let pendingOps = hostCreate(null);
let pendingCount = 0;
let lastOp = 0;

/**
 * Ask the host for something it does while other code runs.
 * @param {string} kind  timer, fetch, call, read, digest, ...
 * @param {object} args  a hostRecord(), or an object literal of primitives
 * @returns {Promise<[any, Uint8Array|null]>} the host's value and its bytes
 */
function hostOp(kind, args, blob) {
  // An error should show where the worker asked, not where the answer came in; timers can't fail. Before anything else:
  // it calls the worker's Error.prepareStackTrace.
  const asked = kind === 'fetch' || kind === 'call' ? new Error() : undefined;
  const id = ++lastOp;
  const promise = new HostPromise((resolve, reject) => {
    pendingOps[id] = hostList(resolve, reject, asked);
  });
  pendingCount++;
  hostSetId(promise, id);
  hostSend(hostList('op', id, kind, currentSpan(), hostSetPrototypeOf(args, null)), blob);
  return promise;
}
/** The host need not do it any more; the promise stays pending. */
function hostCancel(promise) {
  const id = hostGetId(promise);
  if (id !== undefined && pendingOps[id]) {
    delete pendingOps[id];
    pendingCount--;
    hostSend(hostList('cancel', id));
  }
}
function hostAnswer(id, ok, value, blob) {
  const op = pendingOps[id];
  if (!op) return;
  delete pendingOps[id];
  pendingCount--;
  if (ok) op[0](hostList(value, blob === undefined ? null : new HostBytes(blob)));
  else op[1](hostError(value[0], value[1], op[2]));
}
const HostBytes = Uint8Array;

/** An error as the host describes it: a native class for native names, a DOMException for the others. */
function hostError(name, message, asked) {
  const known = hostErrors[name];
  const error = known ? new known(message) : new DOMException(message, name);
  if (asked !== undefined) {
    const stack = asked.stack;
    const at = typeof stack === 'string' ? hostIndexOf(stack, '\n') : -1;
    if (at >= 0) hidden(error, 'stack', name + (message === '' ? '' : ': ' + message) + hostSlice(stack, at));
  }
  return error;
}
function dropOps() {
  pendingOps = hostCreate(null);
  pendingCount = 0;
}

/** A stream of bytes that the host feeds: the body of a request, or of the response to a subrequest. */
function openBodyStream(id) {
  return new ReadableStream(
    {
      pull(controller) {
        return hostThen(hostOp('read', hostRecord({ stream: id })), (reply) => {
          if (reply[1] !== null) controller.enqueue(reply[1]);
          if (reply[0]) controller.close();
        });
      },
      cancel() {
        hostSend(hostList('drop', id));
      },
    },
    { highWaterMark: 0 },
  );
}

// -------------------------------------------------------------------------------------------------------- errors

const ERROR_BYTES = 4096; // workerd's limit for a message, and for a stack with its first line
const THROWN_BYTES = 65536; // callers get more of a message than the record keeps

/** The longest start of a string that has at most `limit` bytes as UTF-8. */
function cutText(text, limit) {
  const length = text.length;
  if (length * 3 <= limit) return text;
  let bytes = 0;
  for (let i = 0; i < length; i++) {
    const code = hostCharCode(text, i);
    const pair = code >= 0xd800 && code < 0xdc00 && i + 1 < length;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : pair ? 4 : 3;
    if (bytes > limit) return hostSlice(text, 0, i);
    if (pair) i++;
  }
  return text;
}

/** A stack without its first line and without our own frames. */
function cleanStack(stack, name, message) {
  const head = message === '' ? name : name + ': ' + message;
  const room = ERROR_BYTES - native.utf8Encode(head).length - 1;
  const out = native.workerFrames(stack, message);
  return room > 0 && out !== '' ? cutText(out, room) : undefined;
}

/** What V8 calls an object that nobody caught: "#<Class>" while its toString() is the inherited one, else "[object Tag]". */
function textOfThrown(e) {
  if (typeof e !== 'object' || e === null) return hostString(e);
  const { toString } = e;
  if (toString === objectToString) {
    const maker = e.constructor;
    if (typeof maker === 'function' && typeof maker.name === 'string' && maker.name !== '') return '#<' + maker.name + '>';
  }
  const tag = e[SymbolToStringTag];
  return '[object ' + (typeof tag === 'string' ? tag : ArrayIsArray(e) ? 'Array' : native.classOf(e)) + ']';
}
const objectToString = Object.prototype.toString;
const errorStack = ObjectGetOwnPropertyDescriptor(Error.prototype, 'stack').get;

/** name, message and stack (or undefined) of whatever was thrown, cut to workerd's sizes. Never throws. */
function describeThrown(e) {
  let name = 'Error';
  let message = '';
  let stack;
  const isError = native.isError(e);
  const isObject = isError || (typeof e === 'object' && e !== null);
  // Each is read once: a getter may answer differently the next time. Each may throw.
  try {
    const given = isObject ? e.name : undefined;
    if (typeof given === 'string' && given !== '') name = cutText(given, 256);
  } catch { /* it stays Error */ }
  try {
    const text = isObject ? e.message : undefined;
    message = typeof text === 'string' ? text : !isError ? textOfThrown(e) : text === undefined ? '' : hostString(text);
  } catch {
    message = 'The thrown value could not be read.';
  }
  try {
    let trace = isObject ? e.stack : undefined;
    if (isError && trace === undefined) trace = ReflectApply(errorStack, e, []); // without Error.prototype
    if (typeof trace === 'string' && trace !== '') stack = trace;
  } catch { /* there is none */ }
  const cut = cutText(message, ERROR_BYTES);
  return hostRecord({ name, message: cut, stack: stack === undefined ? undefined : cleanStack(stack, name, message), whole: cutText(message, THROWN_BYTES) });
}
/** The record of an exception. */
function exceptionJson(thrown) {
  return hostStringify(hostRecord({ name: thrown.name, message: thrown.message, stack: thrown.stack }));
}

const RECORD_EXCEPTION = 2;
const RECORD_DIAGNOSTIC = 3;
const RECORD_SPAN_OPEN = 4;
const RECORD_SPAN_CLOSE = 5;

/** Record an exception that nobody caught. `last`: it ends the invocation, and room is reserved for it. */
function reportException(e, last) {
  const thrown = describeThrown(e);
  if (invocation !== undefined) invocation.faults++;
  native.record(RECORD_EXCEPTION, exceptionJson(thrown), currentSpan(), last === true);
  return thrown;
}

/** The number of the worker's span that runs now, 0 for none. */
const currentSpan = native.span;
