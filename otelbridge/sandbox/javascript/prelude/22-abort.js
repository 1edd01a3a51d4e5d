// AbortController and AbortSignal.

const internal = Symbol('internal'); // proves that a constructor was called from here

let signalState;
let isAbortSignal;
class AbortSignal extends EventTarget {
  #state = { __proto__: null, aborted: false, reason: undefined, steps: undefined };
  constructor(token) {
    if (token !== internal) throw new TypeError('Illegal constructor');
    super();
  }
  get aborted() { return this.#state.aborted; }
  get reason() { return this.#state.reason; }
  throwIfAborted() {
    if (this.#state.aborted) throw this.#state.reason;
  }
  static abort(reason) {
    const signal = new AbortSignal(internal);
    signalAbort(signal, reason);
    return signal;
  }
  static timeout(milliseconds) {
    refuseAtModuleScope();
    const delay = +milliseconds;
    const signal = new AbortSignal(internal);
    startTimer(() => signalAbort(signal, new DOMException('The operation was aborted due to timeout', 'TimeoutError')), delay, false);
    return signal;
  }
  static any(signals) {
    const sources = [...signals];
    const result = new AbortSignal(internal);
    for (let i = 0; i < sources.length; i++) {
      if (!isAbortSignal(sources[i])) throw new TypeError('AbortSignal.any() needs AbortSignals.');
    }
    for (let i = 0; i < sources.length; i++) {
      const state = signalState(sources[i]);
      if (state.aborted) {
        signalAbort(result, state.reason);
        return result;
      }
    }
    for (let i = 0; i < sources.length; i++) onAbort(sources[i], () => signalAbort(result, sources[i].reason));
    return result;
  }
  static {
    signalState = (signal) => signal.#state;
    isAbortSignal = (value) => typeof value === 'object' && value !== null && #state in value;
  }
}
handlerAttribute(AbortSignal, 'abort');
expose(AbortSignal);

/** Call `step` when the signal is aborted, before its listeners. */
function onAbort(signal, step) {
  const state = signalState(signal);
  (state.steps ??= [])[state.steps.length] = step;
}
function offAbort(signal, step) {
  const { steps } = signalState(signal);
  const at = steps === undefined ? -1 : ArrayIndexOf(steps, step);
  if (at >= 0) ArraySplice(steps, at, 1);
}
function signalAbort(signal, reason) {
  const state = signalState(signal);
  if (state.aborted) return;
  state.aborted = true;
  state.reason = reason === undefined ? new DOMException('The operation was aborted', 'AbortError') : reason;
  const { steps } = state;
  state.steps = undefined;
  if (steps !== undefined) for (let i = 0; i < steps.length; i++) steps[i]();
  const listeners = targetListeners(signal);
  if (listeners !== undefined) dispatch(signal, listeners, new Event('abort'));
}

class AbortController {
  #signal;
  get signal() { return (this.#signal ??= new AbortSignal(internal)); }
  abort(reason) { signalAbort(this.signal, reason); }
}
expose(AbortController);
