// Hosts of URLs: domains, IPv4 and IPv6 addresses, and percent-encoding (WHATWG URL, sections 1 and 3).

const specialPorts = { __proto__: null, 'http:': '80', 'https:': '443', 'ws:': '80', 'wss:': '443', 'ftp:': '21', 'file:': '' };

const controlSet = /[\0-\x1f\x7f-\u{10ffff}]/gu;
const fragmentSet = /[\0- "<>`\x7f-\u{10ffff}]/gu;
const querySet = /[\0- "#<>\x7f-\u{10ffff}]/gu;
const specialQuerySet = /[\0- "#'<>\x7f-\u{10ffff}]/gu;
const pathSet = /[\0- "#<>?^`{}\x7f-\u{10ffff}]/gu;
const userinfoSet = /[\0- "#/:;<=>?@[\\\]^`{|}\x7f-\u{10ffff}]/gu;

const percentCodes = [];
for (let i = 0; i < 256; i++) percentCodes[i] = '%' + (i < 16 ? '0' : '') + i.toString(16).toUpperCase();
function percentEncodeChar(c) {
  const code = StringCharCodeAt(c, 0);
  return code < 0x80 ? percentCodes[code] : encodeURIComponent(c);
}
function percentEncode(text, set) {
  return RegExpReplace(set, text, percentEncodeChar);
}

const percentByte = /%[0-9A-Fa-f]{2}/;
/** Percent-decode to text; bytes that are not UTF-8 become U+FFFD. */
function percentDecode(text) {
  if (StringIndexOf(text, '%') < 0 || RegExpExec(percentByte, text) === null) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return percentDecodeBytes(text);
  }
}
function percentDecodeBytes(text) {
  const bytes = native.utf8Encode(text);
  let n = 0;
  for (let i = 0; i < bytes.length; i++) {
    const high = bytes[i] === 0x25 ? hexDigit(bytes[i + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(bytes[i + 2]);
    if (low >= 0) {
      bytes[n++] = high * 16 + low;
      i += 2;
    } else bytes[n++] = bytes[i];
  }
  return native.utf8Decode(TypedArraySubarray(bytes, 0, n), false, true);
}
function hexDigit(code) {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

const forbiddenHost = /[\0\t\n\r #/:<>?@[\\\]^|]/;
const forbiddenDomain = /[\0-\x20#%/:<>?@[\\\]^|\x7f]/;
const notASCII = /[^\0-\x7f]/;

/** A host in its canonical form, or undefined when it is not valid. */
function parseHost(input, special) {
  if (input[0] === '[') {
    if (input[input.length - 1] !== ']') return undefined;
    const pieces = parseIPv6(StringSlice(input, 1, -1));
    return pieces === undefined ? undefined : '[' + writeIPv6(pieces) + ']';
  }
  if (!special) return RegExpExec(forbiddenHost, input) === null ? percentEncode(input, controlSet) : undefined;
  const domain = domainToASCII(percentDecode(input));
  if (domain === undefined || domain === '' || RegExpExec(forbiddenDomain, domain) !== null) return undefined;
  return RegExpExec(endsInNumber, domain) === null ? domain : parseIPv4(domain);
}

const notMapped = /[\u00ad\u034f\u180b-\u180d\u180f\u200b\u2060\u2064\ufe00-\ufe0f\ufeff]|[\u{e0100}-\u{e01ef}]/gu;
const notInDomains = /[\p{Cc}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u00a0\u1680\u2000-\u200a\u200e\u200f\u2028-\u202f\u205f\u2061-\u206f\u3000\ufff9-\uffff]/u;
const badLabel = /^\p{M}|(?<!\p{M})[\u200c\u200d]/u; // a mark at the start, a joiner that joins nothing
/** Lower case, NFC, punycode: UTS 46 without its tables of single exceptions (docs/compatibility.md). */
function domainToASCII(domain) {
  let text = StringToLowerCase(domain);
  const plain = RegExpExec(notASCII, text) === null;
  if (plain && StringIndexOf(text, 'xn--') < 0) return text;
  if (!plain) {
    text = StringNormalize(StringReplace(StringReplace(domain, /[\u3002\uff0e\uff61]/g, '.'), /[\u1e9e]/g, 'ss'), 'NFKC');
    text = StringToLowerCase(StringReplace(StringReplace(text, notMapped, ''), /\u03a3/g, '\u03c3'));
    text = StringNormalize(text, 'NFC');
    if (RegExpExec(notInDomains, text) !== null) return undefined;
  }
  const labels = StringSplit(text, '.');
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i];
    if (RegExpExec(notASCII, label) !== null) {
      if (RegExpExec(badLabel, label) !== null || StringStartsWith(label, 'xn--')) return undefined;
      labels[i] = 'xn--' + toPunycode(label);
    } else if (StringStartsWith(label, 'xn--')) {
      const decoded = fromPunycode(StringSlice(label, 4));
      if (decoded === undefined || RegExpExec(notASCII, decoded) === null || RegExpExec(badLabel, decoded) !== null) return undefined;
      if (RegExpExec(notInDomains, decoded) !== null || StringNormalize(decoded, 'NFC') !== decoded) return undefined;
      if (StringToLowerCase(decoded) !== decoded || 'xn--' + toPunycode(decoded) !== label) return undefined;
    }
  }
  return ArrayJoin(labels, '.');
}

function adaptBias(delta, count, first) {
  let k = 0;
  delta = first ? MathFloor(delta / 700) : delta >> 1;
  delta += MathFloor(delta / count);
  for (; delta > 455; k += 36) delta = MathFloor(delta / 35);
  return k + MathFloor((36 * delta) / (delta + 38));
}
/** RFC 3492 for one label. */
function toPunycode(label) {
  const codes = [];
  let out = '';
  for (let i = 0; i < label.length; ) {
    const code = StringCodePointAt(label, i);
    codes[codes.length] = code;
    if (code < 0x80) out += label[i];
    i += code < 0x10000 ? 1 : 2;
  }
  const basic = out.length;
  let handled = basic;
  let bias = 72;
  let delta = 0;
  if (basic > 0) out += '-';
  for (let n = 0x80; handled < codes.length; n++, delta++) {
    let next = Infinity;
    for (let i = 0; i < codes.length; i++) if (codes[i] >= n && codes[i] < next) next = codes[i];
    delta += (next - n) * (handled + 1);
    n = next;
    for (let i = 0; i < codes.length; i++) {
      if (codes[i] < n) delta++;
      if (codes[i] !== n) continue;
      let q = delta;
      for (let k = 36; ; k += 36) {
        const t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
        if (q < t) break;
        out += punycodeDigits[t + ((q - t) % (36 - t))];
        q = MathFloor((q - t) / (36 - t));
      }
      out += punycodeDigits[q];
      bias = adaptBias(delta, handled + 1, handled === basic);
      delta = 0;
      handled++;
    }
  }
  return out;
}
const punycodeDigits = 'abcdefghijklmnopqrstuvwxyz0123456789';
function fromPunycode(text) {
  const dash = StringLastIndexOf(text, '-');
  const codes = [];
  for (let i = 0; i < dash; i++) codes[i] = StringCharCodeAt(text, i);
  let bias = 72;
  let n = 0x80;
  for (let i = 0, at = dash > 0 ? dash + 1 : 0; at < text.length; ) {
    const before = i;
    for (let weight = 1, k = 36; ; k += 36) {
      const digit = at < text.length ? StringIndexOf(punycodeDigits, text[at++]) : -1;
      if (digit < 0) return undefined;
      i += digit * weight;
      const t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
      if (digit < t) break;
      weight *= 36 - t;
      if (weight > 0x7fffffff) return undefined;
    }
    bias = adaptBias(i - before, codes.length + 1, before === 0);
    n += MathFloor(i / (codes.length + 1));
    i %= codes.length + 1;
    if (n > 0x10ffff) return undefined;
    ArraySplice(codes, i++, 0, n);
  }
  let out = '';
  for (let i = 0; i < codes.length; i++) out += StringFromCodePoint(codes[i]);
  return out;
}
const StringFromCodePoint = String.fromCodePoint;

const endsInNumber = /(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$/;
function parseIPv4(text) {
  const parts = StringSplit(text, '.');
  if (parts.length > 1 && parts[parts.length - 1] === '') parts.length--;
  if (parts.length > 4) return undefined;
  let address = 0;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const hex = RegExpExec(/^0[xX]([0-9a-fA-F]*)$/, part);
    let number;
    if (hex !== null) number = hex[1] === '' ? 0 : parseInt(hex[1], 16);
    else if (RegExpExec(/^0[0-7]*$/, part) !== null) number = parseInt(part, 8);
    else if (RegExpExec(/^[1-9][0-9]*$/, part) !== null) number = +part;
    else return undefined;
    const last = i === parts.length - 1;
    if (number >= (last ? 256 ** (5 - parts.length) : 256)) return undefined;
    address += last ? number : number * 256 ** (3 - i);
  }
  return `${MathFloor(address / 16777216)}.${MathFloor(address / 65536) % 256}.${MathFloor(address / 256) % 256}.${address % 256}`;
}

function parseIPv6(text) {
  const pieces = [];
  let compress = -1;
  let at = 0;
  if (text[0] === ':') {
    if (text[1] !== ':') return undefined;
    at = 2;
    compress = 0;
  }
  while (at < text.length) {
    if (pieces.length === 8) return undefined;
    if (text[at] === ':') {
      if (compress >= 0) return undefined;
      at++;
      compress = pieces.length;
      continue;
    }
    const match = RegExpExec(/^[0-9a-fA-F]{1,4}/, StringSlice(text, at, at + 4));
    const size = match === null ? 0 : match[0].length;
    if (text[at + size] === '.') {
      const v4 = RegExpExec(/^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/, StringSlice(text, at));
      if (v4 === null || pieces.length > 6) return undefined;
      for (let i = 1; i <= 4; i++) if (+v4[i] > 255 || (v4[i].length > 1 && v4[i][0] === '0')) return undefined;
      pieces[pieces.length] = v4[1] * 256 + +v4[2];
      pieces[pieces.length] = v4[3] * 256 + +v4[4];
      at = text.length;
      break;
    }
    if (size === 0) return undefined;
    pieces[pieces.length] = parseInt(match[0], 16);
    at += size;
    if (at === text.length) break;
    if (text[at] !== ':' || at + 1 === text.length) return undefined;
    at++;
  }
  if (compress < 0) return pieces.length === 8 ? pieces : undefined;
  if (pieces.length === 8) return undefined;
  const out = [];
  for (let i = 0; i < compress; i++) out[i] = pieces[i];
  while (out.length < 8 - (pieces.length - compress)) out[out.length] = 0;
  for (let i = compress; i < pieces.length; i++) out[out.length] = pieces[i];
  return out;
}
function writeIPv6(pieces) {
  let best = -1;
  let longest = 1; // a single zero is not compressed
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && pieces[i + n] === 0) n++;
    if (n > longest) {
      longest = n;
      best = i;
    }
  }
  let out = '';
  for (let i = 0; i < 8; i++) {
    if (i === best) {
      out += i === 0 ? '::' : ':';
      i += longest - 1;
    } else out += NumberToString(pieces[i], 16) + (i < 7 ? ':' : '');
  }
  return out;
}
