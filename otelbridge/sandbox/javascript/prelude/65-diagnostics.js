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
    let text;
    try {
      text = hostStringify(hostRecord({ channel: hostString(this.name), message }));
    } catch {
      text = hostStringify(hostRecord({ channel: hostString(this.name), message: NOT_SERIALIZABLE }));
    }
    native.record(RECORD_DIAGNOSTIC, text, currentSpan(), false);
    for (let i = 0; i < this.#subscribers.length; i++) {
      try {
        this.#subscribers[i](message, this.name);
      } catch (e) {
        reportException(e);
      }
    }
  }
}
function channel(name) {
  let found = channels.get(name);
  if (found === undefined) channels.set(name, (found = new Channel(name)));
  return found;
}
const diagnostics = {
  Channel,
  channel,
  hasSubscribers: (name) => channel(name).hasSubscribers,
  subscribe: (name, listener) => channel(name).subscribe(listener),
  unsubscribe: (name, listener) => channel(name).unsubscribe(listener),
};
diagnostics.default = diagnostics;
native.addValue('node:diagnostics_channel', diagnostics);
native.addValue('diagnostics_channel', diagnostics);
