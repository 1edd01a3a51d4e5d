// Spans that a worker opens itself: `import { tracing } from "cloudflare:workers"`.
//
// Numbers, names and attributes are recorded in the ring; ids are given by the host. The current span follows the
// code across await: the engine remembers it with every promise reaction (engine/patches.py).

const SPAN_NAME_BYTES = 64;
const SPAN_ATTRIBUTES = 128;
const SPAN_VALUE_BYTES = 4096;
let lastSpan = 0;

class Span {
  #number;
  #attributes = hostCreate(null);
  #count = 0;
  #open = true;
  #owner = invocation; // numbers begin anew with each: a span that was kept must not end one of the next
  constructor(token, number) {
    if (token !== internal) throw new TypeError('Illegal constructor');
    this.#number = number;
  }
  get isTraced() {
    return this.#open && this.#owner === invocation;
  }
  setAttribute(key, value) {
    if (!this.#open || this.#owner !== invocation || value === undefined || this.#count >= SPAN_ATTRIBUTES) return this;
    const name = cutText(hostString(key), 256);
    if (!hostHas(this.#attributes, name)) this.#count++;
    this.#attributes[name] = typeof value === 'number' || typeof value === 'boolean' ? value : cutText(hostString(value), SPAN_VALUE_BYTES);
    return this;
  }
  setAttributes(attributes) {
    const keys = valueKeys(attributes);
    for (let i = 0; i < keys.length; i++) this.setAttribute(keys[i], attributes[keys[i]]);
    return this;
  }
  end() {
    if (!this.#open || this.#owner !== invocation) return;
    this.#open = false;
    native.record(RECORD_SPAN_CLOSE, hostStringify(hostRecord({ attributes: this.#attributes })), this.#number, false);
  }
  static run(token, span, callback, args, autoEnd) {
    if (token !== internal) throw new TypeError('Illegal invocation');
    const before = native.setSpan(span.#number);
    let result;
    try {
      result = ReflectApply(callback, undefined, args);
    } catch (e) {
      failSpan(span, e);
      if (autoEnd) span.end();
      throw e;
    } finally {
      native.setSpan(before);
    }
    if (!autoEnd) return result;
    if (typeof result !== 'object' || result === null || typeof result.then !== 'function') {
      span.end();
      return result;
    }
    return hostThen(hostResolve(result), (value) => {
      span.end();
      return value;
    }, (e) => {
      failSpan(span, e);
      span.end();
      throw e;
    });
  }
}
const runSpan = Span.run;
delete Span.run;

function failSpan(span, e) {
  span.setAttribute('error.type', describeThrown(e).name);
}
function openSpan(name) {
  if (moduleScope) throw new Error('A span can only be opened within a handler.');
  const number = ++lastSpan;
  native.record(RECORD_SPAN_OPEN, hostStringify(hostRecord({ name: cutText(hostString(name), SPAN_NAME_BYTES), parent: currentSpan() })), number, false);
  return new Span(internal, number);
}

const tracing = {
  /** Run a callback inside a new span, which ends with it (or with the promise it returns). */
  enterSpan(name, callback, ...args) {
    const span = openSpan(name);
    return runSpan(internal, span, callback, [span, ...args], true);
  },
  /** The same, but the span ends when its end() is called. */
  startActiveSpan(name, callback, ...args) {
    const span = openSpan(name);
    return runSpan(internal, span, callback, [span, ...args], false);
  },
  /** A span that is not the current one; ends with its end(). */
  startSpan(name) {
    return openSpan(name);
  },
};
builtinWorkers.tracing = tracing;
builtinWorkers.default = builtinWorkers;
native.addValue('cloudflare:workers', builtinWorkers);
