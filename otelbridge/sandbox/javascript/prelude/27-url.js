// URL (WHATWG). A URL that is canonical as it stands is only taken apart; all others go through parseURL().

// Scheme, host, port, path, query and fragment of an http(s) or ws(s) URL that the parser would leave as it is: lower
// case, no dot segments, nothing to encode. Whatever does not match is parsed.
const canonical =
  /^((?:http|ws)s?:)\/\/((?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}(?=[:/]))|(?:[a-z0-9_-]+\.)*[a-z_][a-z0-9_-]*)(?::([1-9]\d{0,4}))?(\/[!$&-;=@-[\]_a-z|~]*)(\?[!$-&(-;=?-~]*)?(#[!#-;=?-_a-z{-~]*)?$/;

/** The record of a URL: scheme with its colon, host or null, path as text, query and fragment without ? and #, or null. */
function urlRecord(scheme, username, password, host, port, path, opaque, query, fragment, href) {
  return { __proto__: null, scheme, username, password, host, port, path, opaque, query, fragment, href };
}
function takeApart(text) {
  const match = RegExpExec(canonical, text);
  if (match === null) return undefined;
  const scheme = match[1];
  const host = match[2];
  const path = match[4];
  if (StringIndexOf(path, '/.') >= 0 || (StringIndexOf(path, '%2') >= 0 && StringIndexOf(StringToLowerCase(path), '%2e') >= 0)) return undefined;
  if (StringIndexOf(host, 'xn--') >= 0) return undefined;
  const port = match[3];
  if (port !== undefined && (port === specialPorts[scheme] || +port > 65535)) return undefined;
  const query = match[5];
  const fragment = match[6];
  return urlRecord(scheme, '', '', host, port ?? '', path, false, query === undefined ? null : StringSlice(query, 1),
    fragment === undefined ? null : StringSlice(fragment, 1), query === '?' || fragment === '#' ? undefined : text);
}

const schemeStart = /^([A-Za-z][A-Za-z0-9+.-]*):/;
const driveLetter = /^[A-Za-z][:|]$/;
const startsWithDrive = /^[A-Za-z][:|](?:[/\\]|$)/;
const canonicalDrive = /^[A-Za-z]:$/;
const dotSegment = /^(?:\.|%2e)$/i;
const dotsSegment = /^(?:\.|%2e){2}$/i;

/** The basic URL parser: a record, or undefined when `input` is no URL. */
function parseURL(input, base) {
  let text = input;
  if (RegExpExec(/^[\0- ]|[\0- ]$|[\t\n\r]/, text) !== null) {
    text = StringReplace(StringReplace(StringReplace(text, /^[\0- ]+/, ''), /[\0- ]+$/, ''), /[\t\n\r]+/g, '');
  }
  let fragment = null;
  const hash = StringIndexOf(text, '#');
  if (hash >= 0) {
    fragment = percentEncode(StringSlice(text, hash + 1), fragmentSet);
    text = StringSlice(text, 0, hash);
  }
  const match = RegExpExec(schemeStart, text);
  if (match === null) {
    if (base === undefined) return undefined;
    if (base.opaque) {
      if (text !== '' || hash < 0) return undefined;
      return urlRecord(base.scheme, '', '', base.host, base.port, base.path, true, base.query, fragment);
    }
    return base.scheme === 'file:' ? parseFile(text, base, fragment) : parseRelative(text, base, fragment);
  }
  const scheme = StringToLowerCase(match[0]);
  const rest = StringSlice(text, match[0].length);
  const special = scheme in specialPorts;
  if (scheme === 'file:') return parseFile(rest, base !== undefined && base.scheme === 'file:' ? base : undefined, fragment);
  if (special) {
    if (base !== undefined && base.scheme === scheme && !StringStartsWith(rest, '//')) return parseRelative(rest, base, fragment);
    return parseAuthority(scheme, StringReplace(rest, /^[/\\]*/, ''), fragment);
  }
  const [path, query] = splitQuery(rest, false);
  if (StringStartsWith(path, '//')) return parseAuthority(scheme, StringSlice(rest, 2), fragment);
  if (path[0] === '/') return urlRecord(scheme, '', '', null, '', parsePath([], StringSlice(path, 1), scheme), false, query, fragment);
  return urlRecord(scheme, '', '', null, '', percentEncode(path, controlSet), true, query, fragment);
}

function splitQuery(text, special) {
  const mark = StringIndexOf(text, '?');
  if (mark < 0) return [text, null];
  return [StringSlice(text, 0, mark), percentEncode(StringSlice(text, mark + 1), special ? specialQuerySet : querySet)];
}
function isSlash(c, special) {
  return c === '/' || (special && c === '\\');
}
function segmentsOf(path) {
  return path === '' ? [] : StringSplit(StringSlice(path, 1), '/');
}
function shorten(segments, scheme) {
  if (scheme === 'file:' && segments.length === 1 && RegExpExec(canonicalDrive, segments[0]) !== null) return;
  if (segments.length > 0) segments.length--;
}
/** Add the segments of `text` to a path. */
function parsePath(segments, text, scheme) {
  const special = scheme in specialPorts;
  const parts = StringSplit(special ? StringReplace(text, /\\/g, '/') : text, '/');
  for (let i = 0; i < parts.length; i++) {
    const last = i === parts.length - 1;
    let part = parts[i];
    if (RegExpExec(dotsSegment, part) !== null) {
      shorten(segments, scheme);
      if (last) segments[segments.length] = '';
    } else if (RegExpExec(dotSegment, part) !== null) {
      if (last) segments[segments.length] = '';
    } else {
      if (scheme === 'file:' && segments.length === 0 && RegExpExec(driveLetter, part) !== null) part = part[0] + ':';
      segments[segments.length] = percentEncode(part, pathSet);
    }
  }
  return '/' + ArrayJoin(segments, '/');
}
/** The path behind an authority. */
function pathAfterHost(text, scheme) {
  const special = scheme in specialPorts;
  if (text === '' && !special) return '';
  return parsePath([], isSlash(text[0], special) ? StringSlice(text, 1) : text, scheme);
}

function parseRelative(text, base, fragment) {
  const { scheme } = base;
  const special = scheme in specialPorts;
  const [path, query] = splitQuery(text, special);
  if (isSlash(path[0], special)) {
    if (isSlash(path[1], special)) {
      return parseAuthority(scheme, special ? StringReplace(text, /^[/\\]*/, '') : StringSlice(text, 2), fragment);
    }
    return urlRecord(scheme, base.username, base.password, base.host, base.port, parsePath([], StringSlice(path, 1), scheme), false, query, fragment);
  }
  let result = base.path;
  if (path !== '') {
    const segments = segmentsOf(base.path);
    shorten(segments, scheme);
    result = parsePath(segments, path, scheme);
  }
  return urlRecord(scheme, base.username, base.password, base.host, base.port, result, false, path === '' && query === null ? base.query : query, fragment);
}

function parseAuthority(scheme, text, fragment) {
  const special = scheme in specialPorts;
  const [front, query] = splitQuery(text, special);
  const end = RegExpExec(special ? /[/\\]/ : /\//, front);
  let authority = end === null ? front : StringSlice(front, 0, end.index);
  let username = '';
  let password = '';
  const at = StringLastIndexOf(authority, '@');
  if (at >= 0) {
    const credentials = StringSlice(authority, 0, at);
    const colon = StringIndexOf(credentials, ':');
    username = percentEncode(colon < 0 ? credentials : StringSlice(credentials, 0, colon), userinfoSet);
    if (colon >= 0) password = percentEncode(StringSlice(credentials, colon + 1), userinfoSet);
    authority = StringSlice(authority, at + 1);
    if (authority === '') return undefined;
  }
  const colon = portColon(authority);
  const hostText = colon < 0 ? authority : StringSlice(authority, 0, colon);
  if (hostText === '' && (special || colon >= 0)) return undefined;
  const host = hostText === '' ? '' : parseHost(hostText, special);
  if (host === undefined) return undefined;
  const port = colon < 0 ? '' : parsePort(StringSlice(authority, colon + 1), scheme);
  if (port === undefined) return undefined;
  const path = pathAfterHost(end === null ? '' : StringSlice(front, end.index), scheme);
  return urlRecord(scheme, username, password, host, port, path, false, query, fragment);
}
/** Where the port begins: the first colon outside brackets. */
function portColon(authority) {
  const bracket = StringIndexOf(authority, '[');
  const colon = StringIndexOf(authority, ':');
  if (bracket < 0 || colon < bracket) return colon;
  const close = StringIndexOf(authority, ']', bracket);
  return close < 0 ? -1 : StringIndexOf(authority, ':', close);
}
function parsePort(text, scheme) {
  if (text === '') return '';
  if (RegExpExec(/^[0-9]+$/, text) === null || +text > 65535) return undefined;
  const port = `${+text}`;
  return port === specialPorts[scheme] ? '' : port;
}

function parseFile(text, base, fragment) {
  const [path, query] = splitQuery(text, true);
  if (isSlash(path[0], true)) {
    if (isSlash(path[1], true)) {
      const rest = StringSlice(path, 2);
      const end = RegExpExec(/[/\\]/, rest);
      const hostText = end === null ? rest : StringSlice(rest, 0, end.index);
      if (RegExpExec(driveLetter, hostText) !== null) return fileRecord('', parsePath([], rest, 'file:'), query, fragment);
      let host = hostText === '' ? '' : parseHost(hostText, true);
      if (host === undefined) return undefined;
      if (host === 'localhost') host = '';
      return fileRecord(host, pathAfterHost(end === null ? '' : StringSlice(rest, end.index), 'file:'), query, fragment);
    }
    const rest = StringSlice(path, 1);
    const segments = [];
    if (base !== undefined && RegExpExec(startsWithDrive, rest) === null) {
      const first = segmentsOf(base.path)[0];
      if (first !== undefined && RegExpExec(canonicalDrive, first) !== null) segments[0] = first;
    }
    return fileRecord(base === undefined ? '' : base.host, parsePath(segments, rest, 'file:'), query, fragment);
  }
  if (base === undefined) return fileRecord('', parsePath([], path, 'file:'), query, fragment);
  if (path === '') return fileRecord(base.host, base.path, query === null ? base.query : query, fragment);
  const segments = segmentsOf(base.path);
  if (RegExpExec(startsWithDrive, path) !== null) segments.length = 0;
  else shorten(segments, 'file:');
  return fileRecord(base.host, parsePath(segments, path, 'file:'), query, fragment);
}
function fileRecord(host, path, query, fragment) {
  return urlRecord('file:', '', '', host, '', path, false, query, fragment);
}

function writeURL(url) {
  let out = url.scheme;
  if (url.host !== null) {
    out += '//';
    if (url.username !== '' || url.password !== '') out += url.username + (url.password === '' ? '' : ':' + url.password) + '@';
    out += url.port === '' ? url.host : url.host + ':' + url.port;
  } else if (!url.opaque && StringStartsWith(url.path, '//')) out += '/.';
  out += url.path;
  if (url.query !== null) out += '?' + url.query;
  if (url.fragment !== null) out += '#' + url.fragment;
  return out;
}
/** The record of a URL given as text, or undefined. */
function recordOf(input, base) {
  const text = wellFormed(input);
  const from = base === undefined ? undefined : recordOf(base, undefined);
  if (base !== undefined && from === undefined) return undefined;
  return takeApart(text) ?? parseURL(text, from);
}
