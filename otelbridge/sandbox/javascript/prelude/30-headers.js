// Headers. The host's headers are kept as they came until somebody looks.

const headerToken = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const headerValue = /^[^\0\r\n\u0100-\uffff]*$/;
const plainValue = /^[!-~](?:[ -~]*[!-~])?$/;
const headerSpace = /^[\t\r\n ]|[\t\r\n ]$/;

// Names that need no check: a look-up costs a tenth of it.
const commonHeaders = { __proto__: null };
for (const name of [
  'Accept', 'Accept-Encoding', 'Accept-Language', 'Access-Control-Allow-Headers', 'Access-Control-Allow-Methods', 'Access-Control-Allow-Origin',
  'Authorization', 'Cache-Control', 'Content-Encoding', 'Content-Length', 'Content-Security-Policy', 'Content-Type', 'Cookie', 'ETag', 'Host',
  'If-None-Match', 'Location', 'Origin', 'Referer', 'Set-Cookie', 'User-Agent', 'Vary',
]) {
  const key = name.toLowerCase();
  commonHeaders[name] = commonHeaders[key] = key;
}
function checkHeaderName(name) {
  if (typeof name === 'string') {
    const known = commonHeaders[name];
    if (known !== undefined) return known;
  }
  const text = `${name}`;
  if (RegExpExec(headerToken, text) === null) throw new TypeError('Invalid header name.');
  return StringToLowerCase(text);
}
function checkHeaderValue(value) {
  let text = `${value}`;
  if (RegExpExec(plainValue, text) !== null) return text;
  if (RegExpExec(headerSpace, text) !== null) text = StringReplace(StringReplace(text, /^[\t\r\n ]+/, ''), /[\t\r\n ]+$/, '');
  if (RegExpExec(headerValue, text) === null) throw new TypeError('Invalid header value.');
  return text;
}

let headersOf; // host pairs (or none) as Headers
let headerPairs; // [[name, value], ...] for a message
let headerGet; // (headers, lower-case name), nothing checked
let headerDefault; // set what is not there
let isHeaders;
class Headers {
  #list = []; // name, value, name, value, ... with names in lower case
  #immutable = false;
  constructor(init = undefined) {
    if (init === undefined || init === null) return;
    if (typeof init !== 'object' && typeof init !== 'function') throw new TypeError('Headers needs an object or pairs of a name and a value.');
    if (#list in init) {
      this.#list = ArraySlice(init.#list);
      return;
    }
    const iterator = init[SymbolIterator];
    if (iterator !== undefined && iterator !== null) {
      for (const item of init) {
        const pair = typeof item === 'object' && item !== null ? [...item] : [];
        if (pair.length !== 2) throw new TypeError('Headers needs pairs of a name and a value.');
        const key = checkHeaderName(pair[0]);
        this.#list[this.#list.length] = key;
        this.#list[this.#list.length] = checkHeaderValue(pair[1]);
      }
      return;
    }
    const keys = ObjectKeys(init);
    const list = this.#list;
    for (let i = 0; i < keys.length; i++) {
      const key = checkHeaderName(keys[i]);
      list[2 * i] = key;
      list[2 * i + 1] = checkHeaderValue(init[keys[i]]);
    }
  }
  #writable() {
    if (this.#immutable) throw new TypeError("Can't modify immutable headers.");
    return this.#list;
  }
  append(name, value) {
    const key = checkHeaderName(name);
    const text = checkHeaderValue(value);
    const list = this.#writable();
    list[list.length] = key;
    list[list.length] = text;
  }
  delete(name) {
    const key = checkHeaderName(name);
    const list = this.#writable();
    for (let i = 0; i < list.length; ) {
      if (list[i] === key) ArraySplice(list, i, 2);
      else i += 2;
    }
  }
  get(name) { return headerGet(this, checkHeaderName(name)); }
  getAll(name) {
    if (checkHeaderName(name) !== 'set-cookie') throw new TypeError('getAll() can only be used with the header name "Set-Cookie".');
    return this.getSetCookie();
  }
  getSetCookie() {
    const list = this.#list;
    const out = [];
    for (let i = 0; i < list.length; i += 2) if (list[i] === 'set-cookie') out[out.length] = list[i + 1];
    return out;
  }
  has(name) {
    const key = checkHeaderName(name);
    for (let i = 0; i < this.#list.length; i += 2) if (this.#list[i] === key) return true;
    return false;
  }
  set(name, value) {
    const key = checkHeaderName(name);
    const text = checkHeaderValue(value);
    const list = this.#writable();
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] !== key) continue;
      list[i + 1] = text;
      for (let j = i + 2; j < list.length; ) {
        if (list[j] === key) ArraySplice(list, j, 2);
        else j += 2;
      }
      return;
    }
    list[list.length] = key;
    list[list.length] = text;
  }
  /** Sorted and combined; every set-cookie stays on its own. */
  static #sorted(list) {
    const pairs = [];
    const places = { __proto__: null };
    for (let i = 0; i < list.length; i += 2) {
      const name = list[i];
      const place = places[name];
      if (place !== undefined && name !== 'set-cookie') pairs[place][1] += ', ' + list[i + 1];
      else {
        places[name] = pairs.length;
        pairs[pairs.length] = [name, list[i + 1], i];
      }
    }
    ArraySort(pairs, (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[2] - b[2]));
    const out = [];
    for (let i = 0; i < pairs.length; i++) {
      out[2 * i] = pairs[i][0];
      out[2 * i + 1] = pairs[i][1];
    }
    return out;
  }
  forEach(callback, thisArg = undefined) { forEachPair(this, Headers.#sorted(this.#list), callback, thisArg); }
  keys() { return pairIterator(Headers.#sorted(this.#list), 'Headers', 0); }
  values() { return pairIterator(Headers.#sorted(this.#list), 'Headers', 1); }
  entries() { return pairIterator(Headers.#sorted(this.#list), 'Headers', 2); }
  static {
    headersOf = (pairs, immutable) => {
      const headers = new Headers();
      const list = headers.#list;
      for (let i = 0; i < pairs.length; i++) {
        list[2 * i] = StringToLowerCase(pairs[i][0]);
        list[2 * i + 1] = pairs[i][1];
      }
      headers.#immutable = immutable;
      return headers;
    };
    headerPairs = (headers) => {
      const list = headers.#list;
      const out = ObjectSetPrototypeOf([], null);
      for (let i = 0; i < list.length; i += 2) out[i / 2] = ObjectSetPrototypeOf([list[i], list[i + 1]], null);
      return out;
    };
    headerGet = (headers, key) => {
      const list = headers.#list;
      let found = null;
      for (let i = 0; i < list.length; i += 2) if (list[i] === key) found = found === null ? list[i + 1] : found + ', ' + list[i + 1];
      return found;
    };
    headerDefault = (headers, key, value) => {
      const list = headers.#list;
      for (let i = 0; i < list.length; i += 2) if (list[i] === key) return;
      list[list.length] = key;
      list[list.length] = value;
    };
    isHeaders = (value) => typeof value === 'object' && value !== null && #list in value;
  }
}
hidden(Headers.prototype, SymbolIterator, Headers.prototype.entries);
expose(Headers);
