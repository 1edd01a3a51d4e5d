// Response.

const STATUS_TEXT = 'Responses may only be constructed with status codes in the range 200 to 599, inclusive.';
const reasonPhrase = /^[\t\x20-\x7e\x80-\xff]*$/;
function isNullBody(status) {
  return status === 204 || status === 205 || status === 304 || status === 101;
}

let isResponse;
let makeResponse; // of the host's data, which needs no check
let responseHead; // [status, status text, header pairs] as a message's part
class Response extends Body {
  #state;
  constructor(body = null, init = undefined) {
    if (body === internal) {
      super(init.body);
      this.#state = init;
      return;
    }
    let status = 200;
    let statusText = '';
    let headers;
    let cf;
    if (init !== undefined && init !== null) {
      const options = dictionary(init, 'the options of Response');
      if (options.status !== undefined) {
        status = MathTrunc(+options.status);
        if (!(status >= 200 && status <= 599)) throw new RangeError(STATUS_TEXT);
      }
      if (options.statusText !== undefined) {
        statusText = `${options.statusText}`;
        if (RegExpExec(reasonPhrase, statusText) === null) throw new TypeError('Invalid statusText.');
      }
      if (options.headers !== undefined) headers = new Headers(options.headers);
      cf = options.cf;
      if (options.webSocket !== undefined && options.webSocket !== null) throw new TypeError('WebSocket responses are not supported.');
    }
    const content = extractBody(body);
    if (content.kind !== 'empty' && isNullBody(status)) throw new TypeError(`Response with null body status (101, 204, 205, or 304) cannot have a body.`);
    super(content);
    if (headers !== undefined && content.type !== null) headerDefault(headers, 'content-type', content.type);
    this.#state = { __proto__: null, status, statusText, headers, pairs: undefined, body: content, url: '', redirected: false, type: 'default', cf };
  }
  static json(data = undefined, init = undefined) {
    const text = JSONStringify(data);
    if (text === undefined) throw new TypeError('Response.json() needs a value that has a JSON form.');
    const response = new Response(text, init);
    const state = response.#state;
    state.body.type = 'application/json';
    if (state.headers !== undefined) headerDefault((state.headers = new Headers(init.headers)), 'content-type', 'application/json');
    return response;
  }
  static redirect(url, status = 302) {
    const found = recordOf(url, undefined);
    if (found === undefined) throw new TypeError('Unable to parse URL.');
    const code = +status;
    if (code !== 301 && code !== 302 && code !== 303 && code !== 307 && code !== 308) throw new RangeError(`${status} is not a redirect status code. It must be one of: 301, 302, 303, 307, or 308.`);
    return makeResponse(code, '', [['location', found.href ?? writeURL(found)]], null, '');
  }
  static error() {
    const response = makeResponse(0, '', [], null, '');
    response.#state.type = 'error';
    return response;
  }
  get status() { return this.#state.status; }
  get statusText() { return this.#state.statusText; }
  get ok() { return this.#state.status >= 200 && this.#state.status < 300; }
  get headers() {
    const state = this.#state;
    if (state.headers !== undefined) return state.headers;
    if (state.pairs !== undefined) return (state.headers = headersOf(state.pairs, true));
    state.headers = new Headers();
    if (state.body.type !== null) headerDefault(state.headers, 'content-type', state.body.type);
    return state.headers;
  }
  get url() { return this.#state.url; }
  get redirected() { return this.#state.redirected; }
  get type() { return this.#state.type; }
  get webSocket() { return null; }
  get cf() { return this.#state.cf; }
  clone() {
    const state = this.#state;
    const body = cloneBody(this);
    return new Response(internal, {
      __proto__: null, status: state.status, statusText: state.statusText, headers: new Headers(this.headers), pairs: undefined, body,
      url: state.url, redirected: state.redirected, type: state.type, cf: state.cf,
    });
  }
  static {
    isResponse = (value) => typeof value === 'object' && value !== null && #state in value;
    makeResponse = (status, statusText, pairs, body, url, redirected = false) =>
      new Response(internal, {
        __proto__: null, status, statusText, headers: undefined, pairs, body: hostBody(body), url, redirected, type: 'default', cf: undefined,
      });
    responseHead = (response) => {
      const state = response.#state;
      const { type } = state.body;
      // A response whose headers nobody looked at has its content type at most.
      const pairs = state.headers === undefined && state.pairs === undefined
        ? ObjectSetPrototypeOf(type === null ? [] : [ObjectSetPrototypeOf(['content-type', type], null)], null)
        : headerPairs(response.headers);
      return ObjectSetPrototypeOf([state.status, state.statusText, pairs], null);
    };
  }
}
expose(Response);
