// The bodies of requests and responses. A body is text or bytes for as long as nobody asks for a stream.

/**
 * The state of a body. kind: "empty"; "text" with data a string; "bytes" with data a Uint8Array that nobody changes;
 * "host" with data the id of a stream the host feeds; "stream" with data a ReadableStream.
 */
function bodyRecord(kind, data, type) {
  return { __proto__: null, kind, data, type, used: false };
}
const URLENCODED = 'application/x-www-form-urlencoded;charset=UTF-8';
const PLAIN_TEXT = 'text/plain;charset=UTF-8';

/** What a constructor's body argument becomes. */
function extractBody(value) {
  if (typeof value === 'string') return bodyRecord('text', wellFormed(value), PLAIN_TEXT);
  if (value === null || value === undefined) return bodyRecord('empty', null, null);
  if (typeof value === 'object') {
    if (isReadableStream(value)) {
      if (StreamLocked(value) || isDisturbed(value)) throw new TypeError(ALREADY_USED);
      return bodyRecord('stream', value, null);
    }
    const bytes = bytesOf(value);
    if (bytes !== undefined) return bodyRecord('bytes', TypedArraySlice(bytes), null);
    if (isBlob(value)) return bodyRecord('bytes', blobBytes(value), value.type === '' ? null : value.type);
    if (isParams(value)) return bodyRecord('text', `${value}`, URLENCODED);
    if (isFormData(value)) {
      const form = writeMultipart(value);
      return bodyRecord('bytes', form.bytes, 'multipart/form-data; boundary=' + form.boundary);
    }
  }
  return bodyRecord('text', wellFormed(value), PLAIN_TEXT);
}
/** The body of a message that the host made: null, text, bytes, the id of a stream or a stream. */
function hostBody(body) {
  if (body === null) return bodyRecord('empty', null, null);
  if (typeof body === 'string') return bodyRecord('text', body, null);
  if (typeof body === 'number') return bodyRecord('host', body, null);
  return bodyRecord(isReadableStream(body) ? 'stream' : 'bytes', body, null);
}

const ALREADY_USED = 'Body has already been used. It can only be used once. Use tee() first if you need to read it twice.';
function refuseUsed(state) {
  if (state.used || (state.kind === 'stream' && isDisturbed(state.data))) throw new TypeError(ALREADY_USED);
  if (state.kind === 'stream' && StreamLocked(state.data)) throw new TypeError('This ReadableStream is currently locked to a reader.');
}
/** All of a body that the host feeds, without a stream object. */
function readHost(id) {
  const parts = [];
  const next = () =>
    PromiseThen(hostOp('read', hostRecord({ stream: id })), (reply) => {
      if (reply[1] !== null) parts[parts.length] = reply[1];
      return reply[0] ? joinBytes(parts) : next();
    });
  return next();
}
/** Read a body to its end: text(string) or bytes(Uint8Array) makes the result of it. */
function consume(state, text, bytes) {
  try {
    refuseUsed(state);
    if (state.kind === 'empty') return PromiseResolve(text(''));
    state.used = true;
    switch (state.kind) {
      case 'text': return PromiseResolve(text(state.data));
      case 'bytes': return PromiseResolve(bytes(state.data));
      case 'host': return PromiseThen(readHost(state.data), bytes);
      default: return PromiseThen(readAll(state.data), bytes);
    }
  } catch (e) {
    return PromiseReject(e);
  }
}
const textOfBytes = (bytes) => native.utf8Decode(bytes, false, false);
const textItself = (text) => (StringCharCodeAt(text, 0) === 0xfeff ? StringSlice(text, 1) : text);
const jsonOfBytes = (bytes) => JSONParse(native.utf8Decode(bytes, false, false));
const jsonOfText = (text) => JSONParse(textItself(text));
const bufferOfBytes = (bytes) => TypedArraySlice(bytes).buffer;
const bufferOfText = (text) => native.utf8Encode(text).buffer;
const bytesOfText = (text) => native.utf8Encode(text);
const bytesOfBytes = (bytes) => TypedArraySlice(bytes);

let bodyState;
/** What Request and Response share. */
class Body {
  #state;
  constructor(state) {
    this.#state = state;
  }
  get body() {
    const state = this.#state;
    if (state.kind === 'empty') return null;
    if (state.kind !== 'stream') {
      const { used } = state;
      const stream = state.kind === 'host' && !used ? openBodyStream(state.data)
        : streamOfBytes(used ? noBytes : state.kind === 'text' ? native.utf8Encode(state.data) : state.data);
      state.kind = 'stream';
      state.data = stream;
      if (used) StreamGetReader(stream); // it has been read: nobody else shall
    }
    return state.data;
  }
  get bodyUsed() {
    const state = this.#state;
    return state.used || (state.kind === 'stream' && isDisturbed(state.data));
  }
  text() { return consume(this.#state, textItself, textOfBytes); }
  json() { return consume(this.#state, jsonOfText, jsonOfBytes); }
  arrayBuffer() { return consume(this.#state, bufferOfText, bufferOfBytes); }
  bytes() { return consume(this.#state, bytesOfText, bytesOfBytes); }
  blob() {
    const type = headerGet(this.headers, 'content-type') ?? '';
    const make = (bytes) => new Blob(internal, { bytes, type: StringToLowerCase(type) });
    return consume(this.#state, (text) => make(native.utf8Encode(text)), make);
  }
  formData() {
    const type = headerGet(this.headers, 'content-type');
    return consume(this.#state, (text) => parseFormBody(type, native.utf8Encode(text)), (bytes) => parseFormBody(type, bytes));
  }
  static { bodyState = (body) => body.#state; }
}

/** A second body with the same content; the first stays usable. */
function cloneBody(body) {
  const state = bodyState(body);
  refuseUsed(state);
  if (state.kind === 'host') body.body; // becomes a stream
  if (state.kind !== 'stream') return bodyRecord(state.kind, state.data, state.type);
  const [first, second] = StreamTee(state.data);
  state.data = first;
  return bodyRecord('stream', second, state.type);
}
/** Take the body away from a message: its content goes somewhere else. */
function takeBody(body) {
  const state = bodyState(body);
  refuseUsed(state);
  if (state.kind !== 'empty') state.used = true;
  return bodyRecord(state.kind, state.data, state.type);
}
/** What a message's body is sent as; the body counts as used from here on. */
function bodySource(body) {
  const state = takeBody(body);
  switch (state.kind) {
    case 'empty': return { __proto__: null, kind: 'empty' };
    case 'text': return { __proto__: null, kind: 'text', text: state.data };
    case 'bytes': return { __proto__: null, kind: 'bytes', view: state.data };
    case 'host': return { __proto__: null, kind: 'stream', stream: openBodyStream(state.data) };
    default: return { __proto__: null, kind: 'stream', stream: state.data };
  }
}
