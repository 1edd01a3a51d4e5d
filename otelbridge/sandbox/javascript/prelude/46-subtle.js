// crypto.subtle. Keys live here; the host computes (otelbridge/loader/webcrypto.py).
//
// Host operation "subtle" {operation, sizes: [bytes of each part of the blob], and what the operation needs}, blob = the parts:
//   digest   {hash}                                   [data]                     -> null, digest
//   sign     {name, hash, curve, saltLength}          [key, data]                -> null, signature
//   verify   {name, hash, curve, saltLength}          [key, signature, data]     -> boolean
//   encrypt, decrypt {name, hash, length, tagLength}  [key, data, iv, extra]     -> null, result
//            (iv: also the counter of AES-CTR; extra: additional data of AES-GCM, label of RSA-OAEP)
//   derive   {name, hash, iterations, length in bits} [key, salt, info]          -> null, bits   (ECDH, X25519: salt is the public key)
//   generate {name, curve, modulusLength}             []                         -> size of the PKCS #8 part, PKCS #8 + SubjectPublicKeyInfo
//   import   {name, curve, format, secret}            [data]                     -> {type, curve, modulusLength, exponent}, DER
//   export   {name, curve, format, secret}            [DER]                      -> JWK, or null with raw bytes

const hashNames = { __proto__: null, 'SHA-1': 'SHA-1', 'SHA-256': 'SHA-256', 'SHA-384': 'SHA-384', 'SHA-512': 'SHA-512', MD5: 'MD5' };
const hashBlocks = { __proto__: null, 'SHA-1': 512, 'SHA-256': 512, 'SHA-384': 1024, 'SHA-512': 1024 };
const curveNames = { __proto__: null, 'P-256': 1, 'P-384': 1, 'P-521': 1 };
// What each algorithm's keys may be used for: private (or secret), public.
const keyUsages = {
  __proto__: null,
  HMAC: [['sign', 'verify']],
  'AES-GCM': [['encrypt', 'decrypt', 'wrapKey', 'unwrapKey']],
  'AES-CBC': [['encrypt', 'decrypt', 'wrapKey', 'unwrapKey']],
  'AES-CTR': [['encrypt', 'decrypt', 'wrapKey', 'unwrapKey']],
  'AES-KW': [['wrapKey', 'unwrapKey']],
  HKDF: [['deriveKey', 'deriveBits']],
  PBKDF2: [['deriveKey', 'deriveBits']],
  ECDSA: [['sign'], ['verify']],
  ECDH: [['deriveKey', 'deriveBits'], []],
  Ed25519: [['sign'], ['verify']],
  X25519: [['deriveKey', 'deriveBits'], []],
  'RSASSA-PKCS1-v1_5': [['sign'], ['verify']],
  'RSA-PSS': [['sign'], ['verify']],
  'RSA-OAEP': [['decrypt', 'unwrapKey'], ['encrypt', 'wrapKey']],
};
const algorithmNames = { __proto__: null };
for (const name of ObjectKeys(keyUsages)) algorithmNames[name.toUpperCase()] = name;
for (const name of ObjectKeys(hashNames)) algorithmNames[name.toUpperCase()] = name;

const subtleError = (name, message) => new DOMException(message, name);
function algorithmOf(given) {
  const value = typeof given === 'string' ? { __proto__: null, name: given } : given;
  if (typeof value !== 'object' || value === null) throw new TypeError('An algorithm is a name or an object with a name.');
  const name = algorithmNames[StringToUpperCase(`${value.name}`)];
  if (name === undefined) throw subtleError('NotSupportedError', `Unrecognized or unimplemented algorithm "${value.name}" requested.`);
  return { __proto__: null, name, value };
}
function hashOf(given) {
  const { name } = algorithmOf(given === undefined ? '' : given);
  if (hashNames[name] === undefined) throw subtleError('NotSupportedError', `"${name}" is not a hash function.`);
  return name;
}
function subtleBytes(value, what) {
  const bytes = bytesOf(value);
  if (bytes === undefined) throw new TypeError(`The ${what} must be an ArrayBuffer or a view of one.`);
  return bytes;
}
/** Ask the host; the answer is its value, or the bytes when it has some. */
function subtleOp(operation, args, parts) {
  const sizes = hostList();
  for (let i = 0; i < parts.length; i++) sizes[i] = TypedArrayByteLength(parts[i]);
  const record = ObjectAssign({ __proto__: null, operation, sizes }, args);
  return hostOp('subtle', record, parts.length === 0 ? undefined : joinBytes(parts));
}
const replyBuffer = (reply) => (reply[1] ?? new Uint8Array(0)).buffer;

function needKey(key, name, usage) {
  if (!isCryptoKey(key)) throw new TypeError('The key must be a CryptoKey.');
  if (key.algorithm.name !== name) throw subtleError('InvalidAccessError', `Requested algorithm "${name}" does not match this CryptoKey ("${key.algorithm.name}").`);
  if (usage !== undefined && ArrayIndexOf(key.usages, usage) < 0) throw subtleError('InvalidAccessError', `The key does not permit "${usage}".`);
}
function usagesFor(name, type, given) {
  const rows = keyUsages[name];
  const allowed = type === 'public' ? rows[1] : rows[0];
  const list = [];
  const wanted = [...given];
  for (let i = 0; i < wanted.length; i++) {
    const usage = `${wanted[i]}`;
    if (ArrayIndexOf(allowed, usage) < 0) throw subtleError('SyntaxError', `A ${name} key of type ${type} can not be used for "${usage}".`);
    if (ArrayIndexOf(list, usage) < 0) list[list.length] = usage;
  }
  if (type !== 'public' && list.length === 0) throw subtleError('SyntaxError', 'The usages of a secret or private key can not be empty.');
  return list;
}
function curveOf(value) {
  const curve = `${value.namedCurve}`;
  if (curveNames[curve] === undefined) throw subtleError('NotSupportedError', `Unrecognized or unimplemented EC curve "${curve}" requested.`);
  return curve;
}
function checkAesLength(length) {
  if (length !== 128 && length !== 192 && length !== 256) throw subtleError('OperationError', `An AES key has 128, 192 or 256 bits, not ${length}.`);
  return length;
}
/** The `algorithm` of a secret key. */
function secretAlgorithm(name, value, bits) {
  if (name === 'HMAC') return { name, hash: { name: hashOf(value.hash) }, length: bits };
  if (name === 'HKDF' || name === 'PBKDF2') return { name };
  return { name, length: checkAesLength(bits) };
}
/** The `algorithm` of a public or private key; `facts` come from the host. */
function pairAlgorithm(name, value, facts) {
  if (StringStartsWith(name, 'RSA')) {
    return { name, modulusLength: facts.modulusLength, publicExponent: Uint8ArrayFromBase64(facts.exponent), hash: { name: hashOf(value.hash) } };
  }
  return name === 'ECDSA' || name === 'ECDH' ? { name, namedCurve: facts.curve } : { name };
}
const isSecret = (name) => keyUsages[name].length === 1;
const needsCurve = (name) => name === 'ECDSA' || name === 'ECDH';
/** What sign, verify, encrypt and decrypt tell the host about the key. */
function keyFacts(key, value) {
  const { name, namedCurve = null, hash } = key.algorithm;
  return { __proto__: null, name, curve: namedCurve, hash: name === 'ECDSA' ? hashOf(value.hash) : hash === undefined ? null : hash.name };
}

const base64url = { alphabet: 'base64url', omitPadding: true };
const jwkNames = { HMAC: { 'SHA-1': 'HS1', 'SHA-256': 'HS256', 'SHA-384': 'HS384', 'SHA-512': 'HS512' } };
function secretJwk(key) {
  const { name, hash, length } = key.algorithm;
  const jwk = { kty: 'oct', k: Uint8ArrayToBase64(keyData(key), base64url) };
  if (name === 'HMAC') jwk.alg = jwkNames.HMAC[hash.name];
  else if (StringStartsWith(name, 'AES')) jwk.alg = `A${length}${StringSlice(name, 4)}`;
  return jwk;
}
const jwkMembers = ['kty', 'crv', 'x', 'y', 'd', 'n', 'e', 'p', 'q', 'dp', 'dq', 'qi'];
function jwkBytes(jwk) {
  const record = { __proto__: null };
  for (let i = 0; i < jwkMembers.length; i++) {
    const text = jwk[jwkMembers[i]];
    if (text !== undefined) record[jwkMembers[i]] = `${text}`;
  }
  return native.utf8Encode(JSONStringify(record));
}

/** A method whose every failure is a rejection. */
function promised(method) {
  try {
    return PromiseResolve(method());
  } catch (e) {
    return PromiseReject(e);
  }
}

class SubtleCrypto {
  constructor(token) {
    if (token !== internal) throw new TypeError('Illegal constructor');
  }
  digest(algorithm, data) {
    return promised(() => PromiseThen(subtleOp('digest', { __proto__: null, hash: hashOf(algorithm) }, [subtleBytes(data, 'data')]), replyBuffer));
  }
  sign(algorithm, key, data) {
    return promised(() => {
      const { name, value } = algorithmOf(algorithm);
      needKey(key, name, 'sign');
      const args = signArguments(key, name, value);
      return PromiseThen(subtleOp('sign', args, [keyData(key), subtleBytes(data, 'data')]), replyBuffer);
    });
  }
  verify(algorithm, key, signature, data) {
    return promised(() => {
      const { name, value } = algorithmOf(algorithm);
      needKey(key, name, 'verify');
      const args = signArguments(key, name, value);
      return PromiseThen(subtleOp('verify', args, [keyData(key), subtleBytes(signature, 'signature'), subtleBytes(data, 'data')]), (reply) => reply[0]);
    });
  }
  encrypt(algorithm, key, data) {
    return promised(() => PromiseThen(crypt('encrypt', algorithm, key, subtleBytes(data, 'data'), 'encrypt'), replyBuffer));
  }
  decrypt(algorithm, key, data) {
    return promised(() => PromiseThen(crypt('decrypt', algorithm, key, subtleBytes(data, 'data'), 'decrypt'), replyBuffer));
  }
  deriveBits(algorithm, key, length = null) {
    return promised(() => deriveBits(algorithm, key, length, 'deriveBits'));
  }
  deriveKey(algorithm, key, target, extractable, usages) {
    return promised(() => {
      const { name, value } = algorithmOf(target);
      let length = null;
      if (name === 'HMAC') length = value.length === undefined ? hashBlocks[hashOf(value.hash)] : +value.length;
      else if (name !== 'HKDF' && name !== 'PBKDF2') length = checkAesLength(+value.length);
      const list = [...usages];
      return PromiseThen(deriveBits(algorithm, key, length, 'deriveKey'), (bits) => importSecret(name, value, new Uint8Array(bits), !!extractable, list));
    });
  }
  generateKey(algorithm, extractable, usages) {
    return promised(() => {
      refuseAtModuleScope();
      const { name, value } = algorithmOf(algorithm);
      if (keyUsages[name] === undefined || name === 'HKDF' || name === 'PBKDF2') throw subtleError('NotSupportedError', `Keys of ${name} can not be generated.`);
      if (isSecret(name)) {
        const bits = name === 'HMAC' ? (value.length === undefined ? hashBlocks[hashOf(value.hash)] : +value.length) : checkAesLength(+value.length);
        if (!(bits > 0 && bits <= 16384)) throw subtleError('OperationError', 'A key of this length can not be generated.');
        const bytes = new Uint8Array((bits + 7) >> 3);
        native.random(bytes);
        return newKey('secret', !!extractable, secretAlgorithm(name, value, bits), usagesFor(name, 'secret', usages), bytes);
      }
      const [privateRow, publicRow] = keyUsages[name];
      const forPrivate = [];
      const forPublic = [];
      for (const usage of [...usages]) {
        if (ArrayIndexOf(privateRow, usage) >= 0) forPrivate[forPrivate.length] = usage;
        else if (ArrayIndexOf(publicRow, usage) >= 0) forPublic[forPublic.length] = usage;
        else throw subtleError('SyntaxError', `A ${name} key can not be used for "${usage}".`);
      }
      if (forPrivate.length === 0) throw subtleError('SyntaxError', 'The usages of a private key can not be empty.');
      const curve = needsCurve(name) ? curveOf(value) : null;
      const rsa = StringStartsWith(name, 'RSA');
      const facts = { __proto__: null, curve, modulusLength: rsa ? +value.modulusLength : null, exponent: null };
      if (rsa) {
        facts.exponent = Uint8ArrayToBase64(subtleBytes(value.publicExponent, 'public exponent'));
        hashOf(value.hash);
      }
      return PromiseThen(subtleOp('generate', { __proto__: null, name, curve, modulusLength: facts.modulusLength, exponent: facts.exponent }, []), (reply) => {
        const make = (type, use, list, data) => newKey(type, use, pairAlgorithm(name, value, facts), list, data);
        return {
          publicKey: make('public', true, forPublic, TypedArraySlice(reply[1], reply[0])),
          privateKey: make('private', !!extractable, forPrivate, TypedArraySlice(reply[1], 0, reply[0])),
        };
      });
    });
  }
  importKey(format, data, algorithm, extractable, usages) {
    return promised(() => importKey(format, data, algorithm, extractable, [...usages]));
  }
  exportKey(format, key) {
    return promised(() => exportKey(format, key));
  }
  wrapKey(format, key, wrappingKey, algorithm) {
    return promised(() => PromiseThen(exportKey(format, key), (data) => {
      const bytes = format === 'jwk' ? native.utf8Encode(JSONStringify(data)) : new Uint8Array(data);
      return PromiseThen(crypt('encrypt', algorithm, wrappingKey, bytes, 'wrapKey'), replyBuffer);
    }));
  }
  unwrapKey(format, wrapped, key, algorithm, keyAlgorithm, extractable, usages) {
    return promised(() => {
      const list = [...usages];
      return PromiseThen(crypt('decrypt', algorithm, key, subtleBytes(wrapped, 'wrapped key'), 'unwrapKey'), (reply) => {
        const data = format === 'jwk' ? JSONParse(native.utf8Decode(reply[1], false, false)) : reply[1];
        return importKey(format, data, keyAlgorithm, extractable, list);
      });
    });
  }
  timingSafeEqual(a, b) {
    const left = subtleBytes(a, 'first value');
    const right = subtleBytes(b, 'second value');
    if (left.length !== right.length) throw new TypeError('Input buffers must have the same byte length.');
    let difference = 0;
    for (let i = 0; i < left.length; i++) difference |= left[i] ^ right[i];
    return difference === 0;
  }
}
expose(SubtleCrypto);
const subtleCrypto = new SubtleCrypto(internal);
hidden(globalThis, 'crypto', new Crypto(internal));

function signArguments(key, name, value) {
  const args = keyFacts(key, value);
  args.saltLength = name === 'RSA-PSS' ? +value.saltLength : null;
  return args;
}
/** encrypt, decrypt and the two halves of wrapping. */
function crypt(operation, algorithm, key, data, usage) {
  const { name, value } = algorithmOf(algorithm);
  needKey(key, name, usage);
  const args = keyFacts(key, value);
  args.length = name === 'AES-CTR' ? +value.length : null;
  args.tagLength = name === 'AES-GCM' ? (value.tagLength === undefined ? 128 : +value.tagLength) : null;
  let iv = noBytes;
  let extra = noBytes;
  if (name === 'AES-GCM' || name === 'AES-CBC') iv = subtleBytes(value.iv, 'iv');
  if (name === 'AES-CTR') iv = subtleBytes(value.counter, 'counter');
  if (name === 'AES-GCM' && value.additionalData !== undefined) extra = subtleBytes(value.additionalData, 'additional data');
  if (name === 'RSA-OAEP' && value.label !== undefined) extra = subtleBytes(value.label, 'label');
  return subtleOp(operation, args, [keyData(key), data, iv, extra]);
}
function deriveBits(algorithm, key, length, usage) {
  const { name, value } = algorithmOf(algorithm);
  needKey(key, name, usage);
  if (length !== null && (!NumberIsInteger(+length) || +length < 0 || +length % 8 !== 0)) throw subtleError('OperationError', 'The length of derived bits must be a multiple of 8.');
  const args = { __proto__: null, name, curve: key.algorithm.namedCurve ?? null, hash: null, iterations: null, length: length === null ? null : +length };
  let salt = noBytes;
  let info = noBytes;
  if (name === 'ECDH' || name === 'X25519') {
    const other = value.public;
    if (!isCryptoKey(other) || other.type !== 'public') throw new TypeError('The algorithm needs the public key of the other side.');
    if (other.algorithm.name !== name || other.algorithm.namedCurve !== key.algorithm.namedCurve) throw subtleError('InvalidAccessError', 'The two keys do not fit.');
    salt = keyData(other);
  } else if (name === 'HKDF' || name === 'PBKDF2') {
    if (length === null) throw subtleError('OperationError', 'The length of derived bits must be given.');
    args.hash = hashOf(value.hash);
    salt = subtleBytes(value.salt, 'salt');
    if (name === 'HKDF') info = subtleBytes(value.info, 'info');
    else args.iterations = +value.iterations;
  } else throw subtleError('NotSupportedError', `${name} derives no bits.`);
  return PromiseThen(subtleOp('derive', args, [keyData(key), salt, info]), replyBuffer);
}
function importSecret(name, value, bytes, extractable, usages) {
  if (name === 'HMAC' && bytes.length === 0) throw subtleError('DataError', 'An HMAC key can not be empty.');
  if ((name === 'HKDF' || name === 'PBKDF2') && extractable) throw subtleError('SyntaxError', `A ${name} key can not be extractable.`);
  if (StringStartsWith(name, 'AES') && bytes.length !== 16 && bytes.length !== 24 && bytes.length !== 32) {
    throw subtleError('DataError', `Imported AES key length must be 128, 192, or 256 bits but provided ${bytes.length * 8}.`);
  }
  return newKey('secret', extractable, secretAlgorithm(name, value, bytes.length * 8), usagesFor(name, 'secret', usages), TypedArraySlice(bytes));
}
function importKey(format, data, algorithm, extractable, usages) {
  const { name, value } = algorithmOf(algorithm);
  if (keyUsages[name] === undefined) throw subtleError('NotSupportedError', `${name} has no keys.`);
  if (format === 'jwk') {
    if (typeof data !== 'object' || data === null) throw new TypeError('A JWK must be an object.');
    if (data.ext === false && extractable) throw subtleError('DataError', 'The JWK says that it is not extractable.');
    const operations = data.key_ops;
    for (let i = 0; operations !== undefined && i < usages.length; i++) {
      if (ArrayIndexOf(operations, usages[i]) < 0) throw subtleError('DataError', `The JWK does not permit "${usages[i]}".`);
    }
  }
  if (isSecret(name)) {
    if (format === 'raw') return importSecret(name, value, subtleBytes(data, 'key'), !!extractable, usages);
    if (format !== 'jwk' || name === 'HKDF' || name === 'PBKDF2') throw subtleError('NotSupportedError', `Unsupported format "${format}" for a key of ${name}.`);
    if (data.kty !== 'oct' || typeof data.k !== 'string') throw subtleError('DataError', 'The JWK must have the key type "oct" and a member "k".');
    let bytes;
    try {
      bytes = Uint8ArrayFromBase64(data.k, { alphabet: 'base64url' });
    } catch {
      throw subtleError('DataError', 'The member "k" of the JWK is not base64url.');
    }
    return importSecret(name, value, bytes, !!extractable, usages);
  }
  const bytes = format === 'jwk' ? jwkBytes(data) : subtleBytes(data, 'key');
  const args = { __proto__: null, name, format: `${format}`, curve: needsCurve(name) ? curveOf(value) : null };
  if (StringStartsWith(name, 'RSA')) hashOf(value.hash);
  return PromiseThen(subtleOp('import', args, [bytes]), (reply) => {
    const facts = reply[0];
    return newKey(facts.type, facts.type === 'public' || !!extractable, pairAlgorithm(name, value, facts), usagesFor(name, facts.type, usages), reply[1]);
  });
}
function exportKey(format, key) {
  if (!isCryptoKey(key)) throw new TypeError('The key must be a CryptoKey.');
  if (!key.extractable) throw subtleError('InvalidAccessError', 'Attempt to export non-extractable ' + key.type + ' key.');
  const { name, namedCurve = null } = key.algorithm;
  const complete = (jwk) => ObjectAssign(jwk, { key_ops: key.usages, ext: true });
  if (key.type === 'secret') {
    if (format === 'raw') return PromiseResolve(TypedArraySlice(keyData(key)).buffer);
    if (format === 'jwk') return PromiseResolve(complete(secretJwk(key)));
  } else {
    if (format === (key.type === 'private' ? 'pkcs8' : 'spki')) return PromiseResolve(TypedArraySlice(keyData(key)).buffer);
    if (format === 'jwk' || (format === 'raw' && key.type === 'public' && !StringStartsWith(name, 'RSA'))) {
      const args = { __proto__: null, name, format, curve: namedCurve, secret: key.type === 'private' };
      return PromiseThen(subtleOp('export', args, [keyData(key)]), (reply) => (format === 'raw' ? replyBuffer(reply) : complete(ObjectAssign({}, reply[0]))));
    }
  }
  throw subtleError('NotSupportedError', `Unsupported format "${format}" for a ${key.type} key of ${name}.`);
}

/** A writable stream that computes a digest. */
class DigestStream extends WritableStream {
  #digest;
  constructor(algorithm) {
    const hash = hashOf(algorithm);
    const parts = [];
    let settle;
    const digest = new Promise((resolve, reject) => { settle = { __proto__: null, resolve, reject }; });
    PromiseThen(digest, undefined, () => {});
    super({
      write(chunk) {
        const bytes = typeof chunk === 'string' ? native.utf8Encode(chunk) : subtleBytes(chunk, 'chunk');
        parts[parts.length] = TypedArraySlice(bytes);
      },
      close() { settle.resolve(PromiseThen(subtleOp('digest', { __proto__: null, hash }, [joinBytes(parts)]), replyBuffer)); },
      abort(reason) { settle.reject(reason); },
    });
    this.#digest = digest;
  }
  get digest() { return this.#digest; }
}
ObjectDefineProperty(DigestStream.prototype, SymbolToStringTag, { __proto__: null, value: 'DigestStream', configurable: true });
hidden(Crypto.prototype, 'DigestStream', DigestStream);
