// crypto: random values by the engine's generator (keyed by the host for each invocation), and CryptoKey.

const integerArrays = {
  __proto__: null, Int8Array: 1, Uint8Array: 1, Uint8ClampedArray: 1, Int16Array: 1, Uint16Array: 1, Int32Array: 1, Uint32Array: 1,
  BigInt64Array: 1, BigUint64Array: 1,
};
class Crypto {
  constructor(token) {
    if (token !== internal) throw new TypeError('Illegal constructor');
  }
  get subtle() { return subtleCrypto; }
  getRandomValues(array) {
    const name = typeof array === 'object' && array !== null && ArrayBufferIsView(array) ? TypedArrayName(array) : undefined;
    if (name === undefined) throw new TypeError("Failed to execute 'getRandomValues' on 'Crypto': parameter 1 is not of type 'ArrayBufferView'.");
    if (integerArrays[name] === undefined) throw new DOMException('The data argument must be an integer-type TypedArray.', 'TypeMismatchError');
    if (TypedArrayByteLength(array) > 65536) throw new DOMException(`The requested length (${TypedArrayByteLength(array)}) exceeds the 65536 bytes that getRandomValues() gives at once.`, 'QuotaExceededError');
    refuseAtModuleScope();
    native.random(array);
    return array;
  }
  randomUUID() {
    refuseAtModuleScope();
    const bytes = new Uint8Array(16);
    native.random(bytes);
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    let text = '';
    for (let i = 0; i < 16; i++) text += (i === 4 || i === 6 || i === 8 || i === 10 ? '-' : '') + hexPairs[bytes[i]];
    return text;
  }
}
const hexPairs = [];
for (let i = 0; i < 256; i++) hexPairs[i] = (i < 16 ? '0' : '') + i.toString(16);
expose(Crypto);

let newKey;
let keyData; // raw bytes of a secret, PKCS #8 of a private key, SubjectPublicKeyInfo of a public one
let isCryptoKey;
class CryptoKey {
  #type;
  #extractable;
  #algorithm;
  #usages;
  #data;
  constructor(token, type, extractable, algorithm, usages, data) {
    if (token !== internal) throw new TypeError('Illegal constructor');
    this.#type = type;
    this.#extractable = extractable;
    this.#algorithm = algorithm;
    this.#usages = usages;
    this.#data = data;
  }
  get type() { return this.#type; }
  get extractable() { return this.#extractable; }
  get algorithm() { return this.#algorithm; }
  get usages() { return ArraySlice(this.#usages); }
  static {
    newKey = (type, extractable, algorithm, usages, data) => new CryptoKey(internal, type, extractable, algorithm, usages, data);
    keyData = (key) => key.#data;
    isCryptoKey = (value) => typeof value === 'object' && value !== null && #data in value;
  }
}
expose(CryptoKey);
