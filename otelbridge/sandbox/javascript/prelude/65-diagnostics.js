// node:diagnostics_channel: what is published is also recorded on the invocation.

const NOT_SERIALIZABLE = '[[ Diagnostic event was not serializable ]]';
const channels = new Map();
class Channel {
  #subscribers = [];
  constructor(name) {
    this.name = name;
  }
  get hasSubscribers() {
    return this.#subscribers.length > 0;
  }
  subscribe(listener) {
    this.#subscribers.push(listener);
  }
  unsubscribe(listener) {
    const at = this.#subscribers.indexOf(listener);
    if (at >= 0) this.#subscribers.splice(at, 1);
    return at >= 0;
  }
  publish(message) {
    // Listeners first, and what they throw is the publisher's, as in workerd.
    const listeners = ArraySlice(this.#subscribers);
    for (let i = 0; i < listeners.length; i++) FunctionCall(listeners[i], undefined, message, this.name);
    let text;
    try {
      text = hostStringify(hostRecord({ channel: hostString(this.name), message }));
    } catch {
      text = hostStringify(hostRecord({ channel: hostString(this.name), message: NOT_SERIALIZABLE }));
    }
    native.record(RECORD_DIAGNOSTIC, text, currentSpan(), false);
  }
  /** Publish, then call a function. There is no AsyncLocalStorage that could be bound. */
  runStores(message, callback, receiver = undefined, ...args) {
    this.publish(message);
    return ReflectApply(callback, receiver, args);
  }
}
class TracingChannel {
  constructor(name) {
    for (const event of ['start', 'end', 'asyncStart', 'asyncEnd', 'error']) {
      this[event] = typeof name === 'string' ? channel(`tracing:${name}:${event}`) : name[event];
    }
  }
  get hasSubscribers() {
    return this.start.hasSubscribers || this.end.hasSubscribers || this.asyncStart.hasSubscribers || this.asyncEnd.hasSubscribers || this.error.hasSubscribers;
  }
  subscribe(handlers) {
    for (const event of ObjectKeys(handlers)) this[event]?.subscribe(handlers[event]);
  }
  unsubscribe(handlers) {
    let all = true;
    for (const event of ObjectKeys(handlers)) all = this[event]?.unsubscribe(handlers[event]) === true && all;
    return all;
  }
  traceSync(callback, context = {}, receiver = undefined, ...args) {
    return this.start.runStores(context, () => {
      try {
        return (context.result = ReflectApply(callback, receiver, args));
      } catch (e) {
        context.error = e;
        this.error.publish(context);
        throw e;
      } finally {
        this.end.publish(context);
      }
    });
  }
  tracePromise(callback, context = {}, receiver = undefined, ...args) {
    const settled = (name, value) => {
      context[name] = value;
      if (name === 'error') this.error.publish(context);
      this.asyncStart.publish(context);
      this.asyncEnd.publish(context);
    };
    return this.start.runStores(context, () => {
      try {
        return hostThen(hostResolve(ReflectApply(callback, receiver, args)), (value) => {
          settled('result', value);
          return value;
        }, (e) => {
          settled('error', e);
          throw e;
        });
      } catch (e) {
        context.error = e;
        this.error.publish(context);
        throw e;
      } finally {
        this.end.publish(context);
      }
    });
  }
}
function channel(name) {
  let found = channels.get(name);
  if (found === undefined) channels.set(name, (found = new Channel(name)));
  return found;
}
const diagnostics = {
  Channel,
  TracingChannel,
  channel,
  tracingChannel: (name) => new TracingChannel(name),
  hasSubscribers: (name) => channel(name).hasSubscribers,
  subscribe: (name, listener) => channel(name).subscribe(listener),
  unsubscribe: (name, listener) => channel(name).unsubscribe(listener),
};
diagnostics.default = diagnostics;
native.addValue('node:diagnostics_channel', diagnostics);
native.addValue('diagnostics_channel', diagnostics);
