// fetch().
//
// Host operation "fetch" {binding: null or a service's id, method, url, headers: [[name, value], ...], redirect, body: null|"blob"} + blob
//   -> {status, statusText, headers: [[name, value], ...], url, redirected, body: null | "blob" | id of a stream}, bytes

function fetchFrom(binding, input, init) {
  try {
    refuseAtModuleScope();
    const request = isRequest(input) && init === undefined ? input : new Request(input, init);
    const state = requestState(request);
    if (binding === null && !StringStartsWith(state.url, 'http:') && !StringStartsWith(state.url, 'https:')) {
      throw new TypeError(`Fetch API cannot load: ${state.url}`);
    }
    const { signal } = state;
    if (signal !== null && signal !== undefined && signalState(signal).aborted) throw signalState(signal).reason;
    const source = bodySource(request);
    if (source.kind === 'stream') return PromiseThen(readAll(source.stream), (bytes) => perform(binding, request, bytes));
    return perform(binding, request, source.kind === 'text' ? source.text : source.kind === 'bytes' ? source.view : undefined);
  } catch (e) {
    return PromiseReject(e);
  }
}
function perform(binding, request, blob) {
  const state = requestState(request);
  const { signal, url } = state;
  const op = hostOp('fetch', hostRecord({
    binding, method: state.method, url, headers: headerPairs(request.headers), redirect: state.redirect, body: blob === undefined ? null : 'blob',
  }), blob);
  const respond = (reply) => responseOf(reply, url);
  if (signal === null || signal === undefined) return PromiseThen(op, respond);
  return new Promise((resolve, reject) => {
    const stop = () => {
      hostCancel(op);
      reject(signalState(signal).reason);
    };
    onAbort(signal, stop);
    PromiseThen(op, (reply) => {
      offAbort(signal, stop);
      const response = respond(reply);
      if (typeof reply[0].body === 'number') breakOnAbort(response, signal);
      resolve(response);
    }, (e) => {
      offAbort(signal, stop);
      reject(e);
    });
  });
}
function responseOf(reply, url) {
  const head = reply[0];
  const body = head.body === 'blob' ? reply[1] ?? noBytes : head.body;
  return makeResponse(head.status, head.statusText ?? '', head.headers, body, head.url || url, head.redirected === true);
}
/** A body that still streams when the signal is aborted breaks off with its reason. */
function breakOnAbort(response, signal) {
  const state = bodyState(response);
  const id = state.data;
  state.kind = 'stream';
  state.data = StreamPipeThrough(openBodyStream(id), new TransformStream(), { __proto__: null, signal });
}
const StreamPipeThrough = uncurryThis(ReadableStream.prototype.pipeThrough);

function fetch(input, init = undefined) {
  return fetchFrom(null, input, init);
}
exposeFunction(fetch);
