// The classes URL and URLSearchParams, which are views of each other.

let urlState; // the record of a URL
let isURL;
class URL {
  #url;
  #params;
  constructor(input, base = undefined) {
    if (input === internal) {
      this.#url = base;
      return;
    }
    if (arguments.length === 0) throw new TypeError("Failed to construct 'URL': 1 argument required.");
    const found = recordOf(input, base);
    if (found === undefined) throw new TypeError('Invalid URL string.');
    this.#url = found;
  }
  static canParse(input, base = undefined) {
    return recordOf(input, base) !== undefined;
  }
  static parse(input, base = undefined) {
    const found = recordOf(input, base);
    return found === undefined ? null : new URL(internal, found);
  }
  get href() {
    const url = this.#url;
    return (url.href ??= writeURL(url));
  }
  set href(value) {
    const found = recordOf(value, undefined);
    if (found === undefined) throw new TypeError('Invalid URL string.');
    this.#url = found;
    this.#refresh();
  }
  get origin() {
    const url = this.#url;
    if (url.scheme === 'blob:') {
      const inner = recordOf(url.path, undefined);
      return inner !== undefined && (inner.scheme === 'http:' || inner.scheme === 'https:') ? inner.scheme + '//' + hostOf(inner) : 'null';
    }
    return url.scheme in specialPorts && url.scheme !== 'file:' ? url.scheme + '//' + hostOf(url) : 'null';
  }
  get protocol() { return this.#url.scheme; }
  set protocol(value) {
    const url = this.#url;
    const match = RegExpExec(schemeStart, clean(value) + ':');
    if (match === null) return;
    const scheme = StringToLowerCase(match[0]);
    if (scheme in specialPorts !== url.scheme in specialPorts) return;
    if (scheme === 'file:' && (url.username !== '' || url.password !== '' || url.port !== '')) return;
    if (url.scheme === 'file:' && url.host === '') return;
    url.scheme = scheme;
    if (url.port === specialPorts[scheme]) url.port = '';
    url.href = undefined;
  }
  get username() { return this.#url.username; }
  set username(value) {
    if (!canHaveCredentials(this.#url)) return;
    this.#url.username = percentEncode(wellFormed(value), userinfoSet);
    this.#url.href = undefined;
  }
  get password() { return this.#url.password; }
  set password(value) {
    if (!canHaveCredentials(this.#url)) return;
    this.#url.password = percentEncode(wellFormed(value), userinfoSet);
    this.#url.href = undefined;
  }
  get host() { return hostOf(this.#url); }
  set host(value) { setHost(this.#url, clean(value), true); }
  get hostname() { return this.#url.host ?? ''; }
  set hostname(value) { setHost(this.#url, clean(value), false); }
  get port() { return this.#url.port; }
  set port(value) {
    const url = this.#url;
    if (!canHaveCredentials(url)) return;
    const text = clean(value);
    const digits = RegExpExec(/^[0-9]+/, text);
    if (text !== '' && digits === null) return;
    const port = parsePort(text === '' ? '' : digits[0], url.scheme);
    if (port === undefined) return;
    url.port = port;
    url.href = undefined;
  }
  get pathname() { return this.#url.path; }
  set pathname(value) {
    const url = this.#url;
    if (url.opaque) return;
    const special = url.scheme in specialPorts;
    const text = clean(value);
    if (text === '' && !special && url.host !== null) url.path = '';
    else url.path = parsePath([], isSlash(text[0], special) ? StringSlice(text, 1) : text, url.scheme);
    url.href = undefined;
  }
  get search() {
    const { query } = this.#url;
    return query === null || query === '' ? '' : '?' + query;
  }
  set search(value) {
    const url = this.#url;
    const text = clean(value);
    if (text === '') {
      url.query = null;
      stripOpaque(url);
    } else url.query = percentEncode(text[0] === '?' ? StringSlice(text, 1) : text, url.scheme in specialPorts ? specialQuerySet : querySet);
    url.href = undefined;
    this.#refresh();
  }
  get searchParams() { return (this.#params ??= new URLSearchParams(internal, this)); }
  get hash() {
    const { fragment } = this.#url;
    return fragment === null || fragment === '' ? '' : '#' + fragment;
  }
  set hash(value) {
    const url = this.#url;
    const text = clean(value);
    if (text === '') {
      url.fragment = null;
      stripOpaque(url);
    } else url.fragment = percentEncode(text[0] === '#' ? StringSlice(text, 1) : text, fragmentSet);
    url.href = undefined;
  }
  toString() { return this.href; }
  toJSON() { return this.href; }
  #refresh() {
    if (this.#params !== undefined) refillParams(this.#params, this.#url);
  }
  static {
    urlState = (url) => url.#url;
    isURL = (value) => #url in value;
  }
}
expose(URL);

/** What a setter gets: without tabs and line breaks. */
function clean(value) {
  return StringReplace(wellFormed(value), /[\t\n\r]+/g, '');
}
function hostOf(url) {
  return url.host === null ? '' : url.port === '' ? url.host : url.host + ':' + url.port;
}
function canHaveCredentials(url) {
  return url.host !== null && url.host !== '' && url.scheme !== 'file:';
}
function stripOpaque(url) {
  if (url.opaque && url.fragment === null && url.query === null) url.path = StringReplace(url.path, / +$/, '');
}
function setHost(url, text, withPort) {
  if (url.opaque) return;
  const special = url.scheme in specialPorts;
  const end = RegExpExec(special ? /[/\\?#]/ : /[/?#]/, text);
  const authority = end === null ? text : StringSlice(text, 0, end.index);
  if (url.scheme === 'file:') {
    const host = authority === '' ? '' : parseHost(authority, true);
    if (host === undefined) return;
    url.host = host === 'localhost' ? '' : host;
    url.href = undefined;
    return;
  }
  const colon = portColon(authority);
  if (colon >= 0 && (!withPort || colon === 0)) return;
  const hostText = colon < 0 ? authority : StringSlice(authority, 0, colon);
  if (hostText === '' && (special || url.username !== '' || url.password !== '' || url.port !== '')) return;
  const host = hostText === '' ? '' : parseHost(hostText, special);
  if (host === undefined) return;
  url.host = host;
  const digits = colon < 0 ? null : RegExpExec(/^[0-9]+/, StringSlice(authority, colon + 1));
  if (digits !== null) url.port = parsePort(digits[0], url.scheme) ?? url.port;
  url.href = undefined;
}

const plusSigns = /\+/g;
function formDecode(text) {
  return percentDecode(StringIndexOf(text, '+') < 0 ? text : RegExpReplace(plusSigns, text, ' '));
}
const formSafe = /^[A-Za-z0-9*._-]*$/;
const formUnsafe = /[!'()~ ]|%20/g;
function formEncode(text) {
  if (RegExpExec(formSafe, text) !== null) return text;
  return RegExpReplace(formUnsafe, encodeURIComponent(text), (c) => (c === '%20' ? '+' : percentCodes[StringCharCodeAt(c, 0)]));
}
/** name, value, name, value, ... of application/x-www-form-urlencoded text. */
function parseForm(text) {
  const list = [];
  if (text === '' || text === null) return list;
  const parts = StringSplit(text, '&');
  for (let i = 0, n = 0; i < parts.length; i++) {
    const part = parts[i];
    if (part === '') continue;
    const mark = StringIndexOf(part, '=');
    list[n++] = formDecode(mark < 0 ? part : StringSlice(part, 0, mark));
    list[n++] = mark < 0 ? '' : formDecode(StringSlice(part, mark + 1));
  }
  return list;
}
function writeForm(list) {
  let out = '';
  for (let i = 0; i < list.length; i += 2) out += (i > 0 ? '&' : '') + formEncode(list[i]) + '=' + formEncode(list[i + 1]);
  return out;
}

let refillParams; // after the URL's query was set
let isParams;
class URLSearchParams {
  #list = [];
  #url; // the URL it is a view of
  constructor(init = '', owner = undefined) {
    if (init === internal) {
      this.#url = urlState(owner);
      this.#list = parseForm(this.#url.query);
    } else if (typeof init === 'object' && init !== null || typeof init === 'function') {
      if (#list in init) this.#list = ArraySlice(init.#list);
      else this.#fill(init);
    } else {
      const text = wellFormed(init);
      this.#list = parseForm(text[0] === '?' ? StringSlice(text, 1) : text);
    }
  }
  #fill(init) {
    const list = this.#list;
    if (init[SymbolIterator] !== undefined && init[SymbolIterator] !== null) {
      for (const item of init) {
        const pair = typeof item === 'object' && item !== null ? [...item] : [];
        if (pair.length !== 2) throw new TypeError('URLSearchParams needs pairs of a name and a value.');
        list[list.length] = wellFormed(pair[0]);
        list[list.length] = wellFormed(pair[1]);
      }
      return;
    }
    const keys = ObjectKeys(init);
    for (let i = 0; i < keys.length; i++) {
      const name = wellFormed(keys[i]);
      const value = wellFormed(init[keys[i]]);
      const at = ArrayIndexOf(list, name);
      if (at >= 0 && at % 2 === 0) list[at + 1] = value;
      else {
        list[list.length] = name;
        list[list.length] = value;
      }
    }
  }
  #changed() {
    const url = this.#url;
    if (url === undefined) return;
    const text = writeForm(this.#list);
    url.query = text === '' ? null : text;
    url.href = undefined;
    if (text === '') stripOpaque(url);
  }
  get size() { return this.#list.length / 2; }
  append(name, value) {
    if (arguments.length < 2) throw new TypeError('URLSearchParams.append() needs a name and a value.');
    const list = this.#list;
    list[list.length] = wellFormed(name);
    list[list.length] = wellFormed(value);
    this.#changed();
  }
  delete(name, value = undefined) {
    const list = this.#list;
    const key = wellFormed(name);
    const only = value === undefined ? undefined : wellFormed(value);
    let n = 0;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === key && (only === undefined || list[i + 1] === only)) continue;
      list[n] = list[i];
      list[n + 1] = list[i + 1];
      n += 2;
    }
    list.length = n;
    this.#changed();
  }
  get(name) {
    const list = this.#list;
    const key = wellFormed(name);
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) return list[i + 1];
    return null;
  }
  getAll(name) {
    const list = this.#list;
    const key = wellFormed(name);
    const out = [];
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) out[out.length] = list[i + 1];
    return out;
  }
  has(name, value = undefined) {
    const list = this.#list;
    const key = wellFormed(name);
    const only = value === undefined ? undefined : wellFormed(value);
    for (let i = 0; i < list.length; i += 2) if (list[i] === key && (only === undefined || list[i + 1] === only)) return true;
    return false;
  }
  set(name, value) {
    if (arguments.length < 2) throw new TypeError('URLSearchParams.set() needs a name and a value.');
    const list = this.#list;
    const key = wellFormed(name);
    const text = wellFormed(value);
    let n = 0;
    let found = false;
    for (let i = 0; i < list.length; i += 2) {
      const same = list[i] === key;
      if (same && found) continue;
      list[n] = list[i];
      list[n + 1] = same ? text : list[i + 1];
      found ||= same;
      n += 2;
    }
    list.length = n;
    if (!found) {
      list[n] = key;
      list[n + 1] = text;
    }
    this.#changed();
  }
  sort() {
    const pairs = [];
    for (let i = 0; i < this.#list.length; i += 2) pairs[i / 2] = [this.#list[i], this.#list[i + 1]];
    ArraySort(pairs, (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    for (let i = 0; i < pairs.length; i++) {
      this.#list[2 * i] = pairs[i][0];
      this.#list[2 * i + 1] = pairs[i][1];
    }
    this.#changed();
  }
  forEach(callback, thisArg = undefined) { forEachPair(this, this.#list, callback, thisArg); }
  keys() { return pairIterator(this.#list, 'URLSearchParams', 0); }
  values() { return pairIterator(this.#list, 'URLSearchParams', 1); }
  entries() { return pairIterator(this.#list, 'URLSearchParams', 2); }
  toString() { return writeForm(this.#list); }
  static {
    refillParams = (params, record) => {
      const list = parseForm(record.query);
      params.#url = record;
      params.#list.length = 0;
      for (let i = 0; i < list.length; i++) params.#list[i] = list[i];
    };
    isParams = (value) => typeof value === 'object' && value !== null && #list in value;
  }
}
hidden(URLSearchParams.prototype, SymbolIterator, URLSearchParams.prototype.entries);
expose(URLSearchParams);

// Iterators of URLSearchParams, Headers and FormData. They read a list that may change under them, as the standard wants.

function forEachPair(owner, list, callback, thisArg) {
  if (typeof callback !== 'function') throw new TypeError('forEach() needs a function.');
  for (let i = 0; i < list.length; i += 2) FunctionCall(callback, thisArg, list[i + 1], list[i], owner);
}
const iteratorState = new WeakMap();
const getIteratorState = iteratorState.get.bind(iteratorState);
const setIteratorState = iteratorState.set.bind(iteratorState);
const iteratorPrototypes = { __proto__: null };
/** An iterator over a flat list of names and values. `what`: 0 names, 1 values, 2 pairs. */
function pairIterator(list, name, what) {
  const iterator = ObjectCreate((iteratorPrototypes[name] ??= iteratorPrototype(name)));
  setIteratorState(iterator, { __proto__: null, list, what, at: 0 });
  return iterator;
}
function iteratorPrototype(name) {
  const prototype = ObjectCreate(IteratorPrototype);
  hidden(prototype, 'next', { next() {
    const state = getIteratorState(this);
    if (state === undefined) throw new TypeError('Illegal invocation');
    const { list, at, what } = state;
    if (at >= list.length) return { value: undefined, done: true };
    state.at = at + 2;
    return { value: what === 2 ? [list[at], list[at + 1]] : list[at + what], done: false };
  } }.next);
  ObjectDefineProperty(prototype, SymbolToStringTag, { __proto__: null, value: name + ' Iterator', configurable: true });
  return prototype;
}
for (const name of ['URLSearchParams', 'Headers', 'FormData']) iteratorPrototypes[name] = iteratorPrototype(name);
