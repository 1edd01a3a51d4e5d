// FormData, and its two encodings.

let formList;
let formFrom;
let isFormData;
class FormData {
  #list = []; // name, value, name, value, ...; a value is a string or a File
  constructor(form = undefined) {
    if (form !== undefined) throw new TypeError('FormData takes no form here.');
  }
  append(name, value, filename = undefined) {
    if (arguments.length < 2) throw new TypeError('FormData.append() needs a name and a value.');
    const key = wellFormed(name);
    const entry = formEntry(value, filename, arguments.length);
    const list = this.#list;
    list[list.length] = key;
    list[list.length] = entry;
  }
  delete(name) {
    const key = wellFormed(name);
    const list = this.#list;
    for (let i = 0; i < list.length; ) {
      if (list[i] === key) ArraySplice(list, i, 2);
      else i += 2;
    }
  }
  get(name) {
    const key = wellFormed(name);
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) return list[i + 1];
    return null;
  }
  getAll(name) {
    const key = wellFormed(name);
    const list = this.#list;
    const out = [];
    for (let i = 0; i < list.length; i += 2) if (list[i] === key) out[out.length] = list[i + 1];
    return out;
  }
  has(name) {
    const key = wellFormed(name);
    for (let i = 0; i < this.#list.length; i += 2) if (this.#list[i] === key) return true;
    return false;
  }
  set(name, value, filename = undefined) {
    if (arguments.length < 2) throw new TypeError('FormData.set() needs a name and a value.');
    const key = wellFormed(name);
    const entry = formEntry(value, filename, arguments.length);
    const list = this.#list;
    let found = false;
    for (let i = 0; i < list.length; ) {
      if (list[i] !== key) i += 2;
      else if (found) ArraySplice(list, i, 2);
      else {
        found = true;
        list[i + 1] = entry;
        i += 2;
      }
    }
    if (found) return;
    list[list.length] = key;
    list[list.length] = entry;
  }
  forEach(callback, thisArg = undefined) { forEachPair(this, this.#list, callback, thisArg); }
  keys() { return pairIterator(this.#list, 'FormData', 0); }
  values() { return pairIterator(this.#list, 'FormData', 1); }
  entries() { return pairIterator(this.#list, 'FormData', 2); }
  static {
    formList = (form) => form.#list;
    formFrom = (list) => {
      const form = new FormData();
      form.#list = list;
      return form;
    };
    isFormData = (value) => typeof value === 'object' && value !== null && #list in value;
  }
}
hidden(FormData.prototype, SymbolIterator, FormData.prototype.entries);
expose(FormData);

function formEntry(value, filename, count) {
  if (!isBlob(value)) {
    if (count > 2) throw new TypeError('Only a Blob can have a file name.');
    return wellFormed(value);
  }
  if (isFile(value) && filename === undefined) return value;
  return new File([value], filename === undefined ? 'blob' : filename, { type: value.type, lastModified: isFile(value) ? value.lastModified : undefined });
}

const formNameUnsafe = /[\n\r"]/g;
function formName(text) {
  return RegExpReplace(formNameUnsafe, text, (c) => (c === '\n' ? '%0A' : c === '\r' ? '%0D' : '%22'));
}
const anyLineBreak = /\r\n?|\n/g;
let boundaries = 0;
/** {boundary, bytes} of multipart/form-data. */
function writeMultipart(form) {
  const random = new Uint8Array(16);
  // At module scope there is no randomness; the boundary then only has to be new.
  if (native.atModuleScope()) random[0] = ++boundaries;
  else native.random(random);
  let boundary = '----formdata-otelbridge-';
  for (let i = 0; i < 16; i++) boundary += StringSlice(percentCodes[random[i]], 1);
  const list = formList(form);
  const parts = [];
  for (let i = 0; i < list.length; i += 2) {
    const value = list[i + 1];
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${formName(RegExpReplace(anyLineBreak, list[i], '\r\n'))}"`;
    if (typeof value === 'string') {
      parts[parts.length] = native.utf8Encode(`${head}\r\n\r\n${RegExpReplace(anyLineBreak, value, '\r\n')}\r\n`);
      continue;
    }
    head += `; filename="${formName(value.name)}"\r\nContent-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`;
    parts[parts.length] = native.utf8Encode(head);
    parts[parts.length] = blobBytes(value);
    parts[parts.length] = native.utf8Encode('\r\n');
  }
  parts[parts.length] = native.utf8Encode(`--${boundary}--\r\n`);
  return { boundary, bytes: joinBytes(parts) };
}

/** type, subtype and parameters of a Content-Type, or undefined. */
function parseContentType(text) {
  const match = RegExpExec(/^[ \t]*([^/;, ]+)\/([^;, ]+)[ \t]*(;.*)?$/, text);
  if (match === null) return undefined;
  const parameters = { __proto__: null };
  const each = /;[ \t]*([^=;]+)=(?:"((?:[^"\\]|\\.)*)"|([^;]*))/g;
  for (let found; match[3] !== undefined && (found = RegExpExec(each, match[3])) !== null; ) {
    const name = StringToLowerCase(StringTrim(found[1]));
    parameters[name] ??= found[2] === undefined ? StringTrim(found[3]) : StringReplace(found[2], /\\(.)/g, '$1');
  }
  return { __proto__: null, essence: StringToLowerCase(match[1] + '/' + match[2]), parameters };
}

/** The FormData of a body. */
function parseFormBody(contentType, bytes) {
  const type = contentType === null ? undefined : parseContentType(contentType);
  if (type !== undefined && type.essence === 'application/x-www-form-urlencoded') return formFrom(parseForm(native.utf8Decode(bytes, false, false)));
  if (type === undefined || type.essence !== 'multipart/form-data' || !type.parameters.boundary) {
    throw new TypeError('Unrecognized Content-Type header value. FormData can only parse the following MIME types: multipart/form-data, application/x-www-form-urlencoded.');
  }
  return formFrom(parseMultipart(bytes, type.parameters.boundary));
}
function parseMultipart(bytes, boundary) {
  const bad = () => new TypeError('Could not parse the body as multipart/form-data.');
  const text = latin1(bytes); // one character for each byte: the engine's own search is fast
  const mark = '--' + boundary;
  const list = [];
  let at = StringStartsWith(text, mark) ? 0 : StringIndexOf(text, '\r\n' + mark) + 2;
  if (at === 1) throw bad();
  for (;;) {
    at += mark.length;
    if (StringStartsWith(text, '--', at)) return list;
    const lineEnd = StringIndexOf(text, '\r\n', at);
    if (lineEnd < 0 || StringTrim(StringSlice(text, at, lineEnd)) !== '') throw bad();
    const headEnd = StringIndexOf(text, '\r\n\r\n', lineEnd);
    const end = headEnd < 0 ? -1 : StringIndexOf(text, '\r\n' + mark, headEnd + 2);
    if (end < 0) throw bad();
    const head = native.utf8Decode(TypedArraySubarray(bytes, lineEnd, headEnd), false, true) + '\r\n';
    const disposition = RegExpExec(/\r\ncontent-disposition:[ \t]*form-data[ \t]*(;[^\r\n]*)/i, head);
    const name = disposition === null ? null : RegExpExec(/;[ \t]*name="([^"]*)"/i, disposition[1]);
    if (name === null) throw bad();
    const filename = RegExpExec(/;[ \t]*filename="([^"]*)"/i, disposition[1]);
    const content = TypedArraySubarray(bytes, MathMin(headEnd + 4, end), end);
    const unescape = (s) => StringReplace(s, /%(0A|0D|22)/gi, (_, hex) => StringFromCharCode(parseInt(hex, 16)));
    list[list.length] = unescape(name[1]);
    if (filename === null) list[list.length] = native.utf8Decode(content, false, false);
    else {
      const type = RegExpExec(/\r\ncontent-type:[ \t]*([^\r\n]*)/i, head);
      list[list.length] = new File([content], unescape(filename[1]), { type: type === null ? 'text/plain' : type[1] });
    }
    at = end + 2;
  }
}
