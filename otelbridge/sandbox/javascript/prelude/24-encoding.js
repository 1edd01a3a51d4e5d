// TextEncoder and TextDecoder: UTF-8 by the engine; UTF-16 and windows-1252 here. Other labels are refused.

class TextEncoder {
  get encoding() { return 'utf-8'; }
  encode(input = '') { return native.utf8Encode(`${input}`); }
  encodeInto(source, destination) {
    const text = `${source}`;
    if (bytesOf(destination) === undefined || TypedArrayName(destination) !== 'Uint8Array') throw new TypeError('encodeInto() needs a Uint8Array.');
    const room = TypedArrayByteLength(destination);
    let read = text.length;
    let bytes = native.utf8Encode(text);
    if (bytes.length > room) {
      let written = 0;
      for (read = 0; read < text.length; ) {
        const code = StringCodePointAt(text, read);
        const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        if (written + size > room) break;
        written += size;
        read += code < 0x10000 ? 1 : 2;
      }
      bytes = TypedArraySubarray(bytes, 0, written);
    }
    TypedArraySet(destination, bytes, 0);
    return { read, written: bytes.length };
  }
}
expose(TextEncoder);

const encodingLabels = { __proto__: null };
for (const [name, labels] of [
  ['utf-8', 'unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8'],
  ['utf-16le', 'csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le'],
  ['utf-16be', 'unicodefffe utf-16be'],
  ['windows-1252', 'ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252'],
]) {
  for (const label of labels.split(' ')) encodingLabels[label] = name;
}
const windows1252 = '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178';

/** Bytes as a string of one character for each: what latin1 means. */
function latin1(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) {
    text += ReflectApply(StringFromCharCode, undefined, TypedArraySubarray(bytes, at, at + 4096));
  }
  return text;
}
/** How many bytes at the end begin a UTF-8 sequence that more bytes could complete. */
function incompleteTail(bytes) {
  const size = bytes.length;
  for (let back = 1; back <= 3 && back <= size; back++) {
    const byte = bytes[size - back];
    if (byte >= 0xc0) return byte > 0xf4 || back >= (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) || !couldContinue(bytes, size - back) ? 0 : back;
    if (byte < 0x80) return 0;
  }
  return 0;
}
function couldContinue(bytes, at) {
  const lead = bytes[at];
  const second = bytes[at + 1];
  if (lead < 0xc2) return false;
  if (second === undefined) return true;
  return second >= (lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80) && second <= (lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf);
}

const noBytes = new Uint8Array(0);
class TextDecoder {
  #encoding;
  #fatal;
  #ignoreBOM;
  #rest = noBytes; // of the last chunk in a stream
  #begun = false; // past the byte order mark
  constructor(label = 'utf-8', options = undefined) {
    const encoding = encodingLabels[StringToLowerCase(StringTrim(`${label}`))];
    if (encoding === undefined) throw new RangeError(`"${label}" is not a supported encoding.`);
    const bag = dictionary(options, 'the options of TextDecoder');
    this.#encoding = encoding;
    this.#fatal = !!bag.fatal;
    this.#ignoreBOM = !!bag.ignoreBOM;
  }
  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }
  decode(input = undefined, options = undefined) {
    let bytes = input === undefined ? noBytes : bytesOf(input);
    if (bytes === undefined) throw new TypeError('TextDecoder.decode() needs an ArrayBuffer or a view of one.');
    const stream = options !== undefined && options !== null && !!options.stream;
    if (!stream && !this.#begun && this.#encoding === 'utf-8' && this.#rest.length === 0) return native.utf8Decode(bytes, this.#fatal, this.#ignoreBOM);
    if (this.#rest.length > 0) bytes = joinBytes([this.#rest, bytes]);
    let keep = 0;
    if (stream) keep = this.#encoding === 'utf-8' ? incompleteTail(bytes) : this.#encoding === 'windows-1252' ? 0 : utf16Tail(bytes, this.#encoding === 'utf-16be');
    this.#rest = keep > 0 ? TypedArraySlice(bytes, bytes.length - keep) : noBytes;
    if (keep > 0) bytes = TypedArraySubarray(bytes, 0, bytes.length - keep);
    let text;
    try {
      text = this.#encoding === 'utf-8' ? native.utf8Decode(bytes, this.#fatal, true)
        : this.#encoding === 'windows-1252' ? decodeWindows1252(bytes) : decodeUtf16(bytes, this.#encoding === 'utf-16be', this.#fatal);
    } catch (e) {
      this.#begun = false;
      this.#rest = noBytes;
      throw e;
    }
    if (text !== '' && !this.#begun) {
      this.#begun = true;
      if (!this.#ignoreBOM && this.#encoding !== 'windows-1252' && StringCharCodeAt(text, 0) === 0xfeff) text = StringSlice(text, 1);
    }
    if (!stream) this.#begun = false;
    return text;
  }
}
expose(TextDecoder);

function decodeWindows1252(bytes) {
  return StringReplace(latin1(bytes), /[\x80-\x9f]/g, (c) => windows1252[StringCharCodeAt(c, 0) - 0x80]);
}
function utf16Tail(bytes, big) {
  const odd = bytes.length & 1;
  if (bytes.length - odd < 2) return odd;
  const high = bytes[bytes.length - odd - (big ? 2 : 1)];
  return high >= 0xd8 && high <= 0xdb ? odd + 2 : odd; // half of a surrogate pair
}
function decodeUtf16(bytes, big, fatal) {
  const units = [];
  let text = '';
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    units[units.length] = big ? (bytes[at] << 8) | bytes[at + 1] : bytes[at] | (bytes[at + 1] << 8);
    if (units.length === 4096) {
      text += ReflectApply(StringFromCharCode, undefined, units);
      units.length = 0;
    }
  }
  text += ReflectApply(StringFromCharCode, undefined, units);
  const odd = bytes.length & 1;
  if (fatal && (odd || !StringIsWellFormed(text))) throw new TypeError('Failed to decode input.');
  // Half a pair before an odd byte is one error, not two.
  const last = text === '' ? 0 : StringCharCodeAt(text, text.length - 1);
  return StringToWellFormed(text) + (odd && !(last >= 0xd800 && last < 0xdc00) ? '\ufffd' : '');
}
