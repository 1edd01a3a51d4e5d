// Event, EventTarget and the events that exist here. As in workerd, an exception of a listener leaves dispatchEvent().

let eventFlags; // the event's own state, for dispatch
class Event {
  #state;
  constructor(type, init) {
    if (arguments.length === 0) throw new TypeError("Failed to construct 'Event': 1 argument required.");
    const options = dictionary(init, 'the options of an event');
    this.#state = {
      __proto__: null, type: `${type}`, bubbles: !!options.bubbles, cancelable: !!options.cancelable, composed: !!options.composed,
      target: null, current: null, phase: 0, stopped: false, stoppedNow: false, prevented: false, passive: false, time: native.now(),
    };
  }
  get type() { return this.#state.type; }
  get bubbles() { return this.#state.bubbles; }
  get cancelable() { return this.#state.cancelable; }
  get composed() { return this.#state.composed; }
  get defaultPrevented() { return this.#state.prevented; }
  get returnValue() { return !this.#state.prevented; }
  get eventPhase() { return this.#state.phase; }
  get target() { return this.#state.target; }
  get srcElement() { return this.#state.target; }
  get currentTarget() { return this.#state.current; }
  get timeStamp() { return this.#state.time; }
  get isTrusted() { return false; }
  get cancelBubble() { return this.#state.stopped; }
  set cancelBubble(value) { if (value) this.#state.stopped = true; }
  composedPath() { return this.#state.current === null ? [] : [this.#state.current]; }
  preventDefault() {
    if (this.#state.cancelable && !this.#state.passive) this.#state.prevented = true;
  }
  stopPropagation() { this.#state.stopped = true; }
  stopImmediatePropagation() { this.#state.stopped = this.#state.stoppedNow = true; }
  static { eventFlags = (event) => (typeof event === 'object' && event !== null && #state in event ? event.#state : undefined); }
}
const eventPhases = { NONE: 0, CAPTURING_PHASE: 1, AT_TARGET: 2, BUBBLING_PHASE: 3 };
for (const name of ObjectKeys(eventPhases)) {
  const constant = { __proto__: null, value: eventPhases[name], enumerable: true };
  ObjectDefineProperty(Event, name, constant);
  ObjectDefineProperty(Event.prototype, name, constant);
}
expose(Event);

class CustomEvent extends Event {
  #detail;
  constructor(type, init) {
    super(type, init);
    this.#detail = init?.detail ?? null;
  }
  get detail() { return this.#detail; }
}
expose(CustomEvent);

class ErrorEvent extends Event {
  #init;
  constructor(type, init) {
    super(type, init);
    this.#init = dictionary(init, 'the options of an event');
  }
  get message() { return `${this.#init.message ?? ''}`; }
  get filename() { return `${this.#init.filename ?? ''}`; }
  get lineno() { return this.#init.lineno ?? 0; }
  get colno() { return this.#init.colno ?? 0; }
  get error() { return this.#init.error; }
}
expose(ErrorEvent);

class PromiseRejectionEvent extends Event {
  #promise;
  #reason;
  constructor(type, init) {
    super(type, init);
    this.#promise = init.promise;
    this.#reason = init.reason;
  }
  get promise() { return this.#promise; }
  get reason() { return this.#reason; }
}
expose(PromiseRejectionEvent);

class MessageEvent extends Event {
  #data;
  constructor(type, init) {
    super(type, init);
    this.#data = init?.data ?? null;
  }
  get data() { return this.#data; }
}
expose(MessageEvent);

let targetListeners; // (target) => Map of lists, or undefined while nobody listens
let isEventTarget;
class EventTarget {
  #listeners;
  addEventListener(type, callback, options) {
    addListener(this, (this.#listeners ??= new Map()), `${type}`, callback, options);
  }
  removeEventListener(type, callback, options) {
    if (this.#listeners === undefined) return;
    const capture = typeof options === 'object' && options !== null ? !!options.capture : !!options;
    removeListener(this.#listeners, `${type}`, callback, capture);
  }
  dispatchEvent(event) {
    return dispatch(this, this.#listeners, event);
  }
  static {
    targetListeners = (target) => target.#listeners;
    isEventTarget = (value) => #listeners in value;
  }
}
expose(EventTarget);

function addListener(target, listeners, type, callback, options) {
  const bag = typeof options === 'object' && options !== null ? options : { __proto__: null, capture: options };
  const capture = !!bag.capture;
  const signal = bag.signal;
  if (callback === null || callback === undefined) return;
  if (typeof callback !== 'function' && typeof callback !== 'object') throw new TypeError('An event listener must be a function or an object.');
  if (signal !== undefined) {
    if (!isAbortSignal(signal)) throw new TypeError("The option 'signal' must be an AbortSignal.");
    if (signalState(signal).aborted) return;
  }
  let list = MapGet(listeners, type);
  if (list === undefined) MapSet(listeners, type, (list = []));
  for (let i = 0; i < list.length; i++) if (list[i].callback === callback && list[i].capture === capture) return;
  list[list.length] = { __proto__: null, callback, capture, once: !!bag.once, passive: !!bag.passive, removed: false };
  if (signal !== undefined) onAbort(signal, () => removeListener(listeners, type, callback, capture));
}
function removeListener(listeners, type, callback, capture) {
  const list = MapGet(listeners, type);
  if (list === undefined) return;
  for (let i = 0; i < list.length; i++) {
    if (list[i].callback !== callback || list[i].capture !== capture) continue;
    list[i].removed = true;
    ArraySplice(list, i, 1);
    if (list.length === 0) MapDelete(listeners, type);
    return;
  }
}

/** Call the listeners of a target; returns false when the event was cancelled. */
function dispatch(target, listeners, event) {
  const flags = eventFlags(event);
  if (flags === undefined) throw new TypeError('dispatchEvent() needs an Event.');
  if (flags.phase !== 0) throw new DOMException('The event is already being dispatched.', 'InvalidStateError');
  flags.target = flags.current = target;
  flags.phase = 2;
  flags.stoppedNow = false;
  const list = listeners === undefined ? undefined : MapGet(listeners, flags.type);
  try {
    if (list !== undefined) {
      const calls = ArraySlice(list);
      for (let i = 0; i < calls.length && !flags.stoppedNow; i++) {
        const listener = calls[i];
        if (listener.removed) continue;
        if (listener.once) removeListener(listeners, flags.type, listener.callback, listener.capture);
        flags.passive = listener.passive;
        const callback = listener.callback;
        if (typeof callback === 'function') FunctionCall(callback, target, event);
        else callback.handleEvent(event);
      }
    }
  } finally {
    flags.phase = 0;
    flags.current = null;
    flags.passive = false;
    flags.stopped = flags.stoppedNow = false;
  }
  return !flags.prevented;
}
/** The accessor pair of an attribute like `onabort`. */
function handlerAttribute(Class, type) {
  const handlers = new WeakMap();
  const get = handlers.get.bind(handlers);
  const set = handlers.set.bind(handlers);
  ObjectDefineProperty(Class.prototype, 'on' + type, {
    __proto__: null,
    configurable: true,
    enumerable: true,
    get() { return get(this)?.handler ?? null; },
    set(value) {
      let slot = get(this);
      if (slot === undefined) {
        set(this, (slot = { __proto__: null, handler: null }));
        this.addEventListener(type, (event) => typeof slot.handler === 'function' && FunctionCall(slot.handler, this, event));
      }
      slot.handler = typeof value === 'function' || typeof value === 'object' ? value : null;
    },
  });
}

// The global scope is an event target whose methods are called without a receiver.
const globalListeners = new Map();
function addEventListener(type, callback, options) {
  addListener(globalThis, globalListeners, `${type}`, callback, options);
}
function removeEventListener(type, callback, options) {
  removeListener(globalListeners, `${type}`, callback, typeof options === 'object' && options !== null ? !!options.capture : !!options);
}
function dispatchEvent(event) {
  return dispatch(globalThis, globalListeners, event);
}
exposeFunction(addEventListener);
exposeFunction(removeEventListener);
exposeFunction(dispatchEvent);

/** Whether a worker listens to a kind of global event. */
function hasGlobalListener(type) {
  return MapHas(globalListeners, type);
}
/** Dispatch an event of the runtime's own. What a listener throws is recorded; false when the event was cancelled. */
function dispatchGlobal(event) {
  try {
    return dispatch(globalThis, globalListeners, event);
  } catch (e) {
    reportException(e);
    return true;
  }
}
