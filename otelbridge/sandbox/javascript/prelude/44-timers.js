// Timers: host operation "timer" {ms}, answered with null when the time has come. They end with their invocation.

const timers = new Map(); // id => {op, callback, ms, repeat}
let lastTimer = 0;

function startTimer(callback, delay, repeat) {
  const ms = delay > 0 ? MathMin(MathTrunc(delay), 0x7fffffff) : 0; // also for NaN
  const timer = { __proto__: null, id: ++lastTimer, op: undefined, callback, ms, repeat };
  MapSet(timers, timer.id, timer);
  armTimer(timer);
  return timer.id;
}
function armTimer(timer) {
  timer.op = hostOp('timer', hostRecord({ ms: timer.ms }));
  PromiseThen(timer.op, () => {
    if (!MapHas(timers, timer.id)) return;
    if (timer.repeat) armTimer(timer);
    else MapDelete(timers, timer.id);
    try {
      timer.callback();
    } catch (e) {
      reportException(e);
    }
  }, () => MapDelete(timers, timer.id));
}
function stopTimer(id) {
  const timer = MapGet(timers, id);
  if (timer === undefined) return;
  MapDelete(timers, id);
  hostCancel(timer.op);
}
/** At the end of an invocation: what still waits is forgotten. */
function clearAllTimers() {
  MapClear(timers);
}
const MapClear = uncurryThis(Map.prototype.clear);

function timerCallback(callback, args) {
  refuseAtModuleScope();
  if (typeof callback !== 'function') throw new TypeError('The callback of a timer must be a function.');
  return args.length === 0 ? () => FunctionCall(callback, globalThis) : () => ReflectApply(callback, globalThis, args);
}
function setTimeout(callback, delay = 0, ...args) {
  return startTimer(timerCallback(callback, args), +delay, false);
}
function setInterval(callback, delay = 0, ...args) {
  return startTimer(timerCallback(callback, args), +delay, true);
}
function clearTimeout(id = undefined) {
  stopTimer(+id);
}
function clearInterval(id = undefined) {
  stopTimer(+id);
}
exposeFunction(setTimeout);
exposeFunction(setInterval);
exposeFunction(clearTimeout);
exposeFunction(clearInterval);

class Scheduler {
  wait(delay, options = undefined) {
    const { signal } = dictionary(options, 'the options of scheduler.wait()');
    return new Promise((resolve, reject) => {
      refuseAtModuleScope();
      if (signal === undefined || signal === null) return startTimer(resolve, +delay, false);
      if (!isAbortSignal(signal)) throw new TypeError("The option 'signal' must be an AbortSignal.");
      if (signal.aborted) return reject(signal.reason);
      const stop = () => {
        stopTimer(id);
        reject(signal.reason);
      };
      const id = startTimer(() => {
        offAbort(signal, stop);
        resolve();
      }, +delay, false);
      onAbort(signal, stop);
    });
  }
}
ObjectDefineProperty(Scheduler.prototype, SymbolToStringTag, { __proto__: null, value: 'Scheduler', configurable: true });
hidden(globalThis, 'scheduler', new Scheduler());

function reportError(error) {
  if (arguments.length === 0) throw new TypeError('reportError() needs an error.');
  const event = new ErrorEvent('error', { error, message: native.isError(error) ? error.message : '', cancelable: true });
  if (dispatchGlobal(event)) reportException(error);
}
exposeFunction(reportError);
