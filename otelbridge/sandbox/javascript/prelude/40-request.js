// Request.

const REDIRECT_TEXT =
  'Invalid redirect value, must be one of "follow" or "manual" ("error" won\'t be implemented since it does not make sense at the edge; use "manual" and check the response status code).';
const commonMethods = { __proto__: null, GET: 'GET', POST: 'POST', PUT: 'PUT', DELETE: 'DELETE', HEAD: 'HEAD', PATCH: 'PATCH', OPTIONS: 'OPTIONS' };
function checkMethod(value) {
  const known = commonMethods[value];
  if (known !== undefined) return known;
  const method = `${value}`;
  const upper = StringToUpperCase(method);
  if (RegExpExec(headerToken, method) === null || upper === 'CONNECT' || upper === 'TRACK') throw new TypeError(`Invalid HTTP method string: ${method}`);
  return upper in commonMethods ? upper : method;
}

let requestState;
let isRequest;
let makeRequest; // of the host's data, which needs no check
class Request extends Body {
  #state;
  constructor(input, init = undefined) {
    if (input === internal) {
      super(init.body);
      this.#state = init;
      return;
    }
    if (arguments.length === 0) throw new TypeError("Failed to construct 'Request': 1 argument required.");
    const from = isRequest(input) ? input : undefined;
    const old = from === undefined ? undefined : from.#state;
    const options = dictionary(init, 'the options of Request');
    let url;
    if (old !== undefined) url = old.url;
    else {
      const found = recordOf(input, undefined);
      if (found === undefined) throw new TypeError(`Invalid URL: ${input}`);
      if (found.username !== '' || found.password !== '') throw new TypeError('A Request can not have credentials in its URL.');
      url = found.href ?? writeURL(found);
    }
    const method = options.method === undefined ? (old === undefined ? 'GET' : old.method) : checkMethod(options.method);
    const redirect = options.redirect === undefined ? (old === undefined ? 'follow' : old.redirect) : `${options.redirect}`;
    if (redirect !== 'follow' && redirect !== 'manual') throw new TypeError(REDIRECT_TEXT);
    let { signal } = options;
    if (signal === undefined) signal = old === undefined ? null : old.signal;
    else if (signal !== null && !isAbortSignal(signal)) throw new TypeError("The option 'signal' of Request must be an AbortSignal.");
    const headers = new Headers(options.headers === undefined ? (old === undefined ? undefined : from.headers) : options.headers);
    const given = options.body;
    if (given !== undefined && given !== null && (method === 'GET' || method === 'HEAD')) throw new TypeError('Request with a GET or HEAD method cannot have a body.');
    const body = given === undefined && from !== undefined ? takeBody(from) : extractBody(given);
    if (body.type !== null && given !== undefined) headerDefault(headers, 'content-type', body.type);
    super(body);
    const cf = options.cf === undefined ? old?.cf : options.cf;
    this.#state = { __proto__: null, method, url, headers, pairs: undefined, body, redirect, signal, cf };
  }
  get method() { return this.#state.method; }
  get url() { return this.#state.url; }
  get headers() {
    const state = this.#state;
    return (state.headers ??= headersOf(state.pairs, true));
  }
  get redirect() { return this.#state.redirect; }
  get signal() { return (this.#state.signal ??= new AbortSignal(internal)); }
  get cf() { return this.#state.cf; }
  get integrity() { return ''; }
  get keepalive() { return false; }
  get cache() { return undefined; }
  get fetcher() { return null; }
  clone() {
    const state = this.#state;
    const body = cloneBody(this);
    return new Request(internal, {
      __proto__: null, method: state.method, url: state.url, headers: new Headers(this.headers), pairs: undefined, body,
      redirect: state.redirect, signal: state.signal, cf: state.cf,
    });
  }
  static {
    requestState = (request) => request.#state;
    isRequest = (value) => typeof value === 'object' && value !== null && #state in value;
    makeRequest = (method, url, pairs, body, signal, cf) =>
      new Request(internal, { __proto__: null, method, url, headers: undefined, pairs, body: hostBody(body), redirect: 'manual', signal, cf: cf ?? undefined });
  }
}
expose(Request);
