// Values that cross between worker and host: env, props, RPC arguments and results. JSON, with {"$": kind, "v": ...}
// for what JSON lacks. The other side: otelbridge/loader/values.py.

const VALUE_DEPTH = 200;
const valueIsArray = Array.isArray;
const valueKeys = Object.keys;
const valueGetPrototypeOf = Object.getPrototypeOf;
const valuePlain = Object.prototype;
const valueDateTime = hostUncurry(Date.prototype.getTime);
const valueToBase64 = hostUncurry(Uint8Array.prototype.toBase64);
const valueFromBase64 = Uint8Array.fromBase64.bind(Uint8Array);
const valueMapEach = hostUncurry(Map.prototype.forEach);
const valueSetEach = hostUncurry(Set.prototype.forEach);
const valueMapSet = hostUncurry(Map.prototype.set);
const valueSetAdd = hostUncurry(Set.prototype.add);
const [ValueMap, ValueSet, ValueDate, valueBigInt, valueDefine] = [Map, Set, Date, BigInt, Object.defineProperty];

function tagged(kind, value) {
  return hostRecord({ $: kind, v: value });
}
function notSerializable(type) {
  return new DOMException(`Could not serialize object of type "${type}". This type does not support serialization.`, 'DataCloneError');
}

/** A value as a tree that hostStringify() turns into JSON; DataCloneError for what can't cross. */
function packValue(v, depth) {
  if (depth > VALUE_DEPTH) throw new DOMException('Could not serialize an object that is circular or nested too deeply.', 'DataCloneError');
  switch (typeof v) {
    case 'string':
    case 'boolean':
      return v;
    case 'number':
      return v === v && v !== Infinity && v !== -Infinity ? v : tagged('n', hostString(v));
    case 'undefined':
      return tagged('u', null);
    case 'bigint':
      return tagged('i', hostString(v));
    case 'symbol':
      throw notSerializable('Symbol');
    case 'function':
      throw notSerializable('Function');
  }
  if (v === null) return null;
  const out = hostList();
  if (valueIsArray(v)) {
    for (let i = 0; i < v.length; i++) out[i] = packValue(v[i], depth + 1);
    return out;
  }
  const kind = native.classOf(v);
  switch (kind) {
    case 'Date':
      return tagged('d', valueDateTime(v));
    case 'Map': {
      let n = 0;
      valueMapEach(v, (item, key) => { out[n++] = hostList(packValue(key, depth + 1), packValue(item, depth + 1)); });
      return tagged('m', out);
    }
    case 'Set': {
      let n = 0;
      valueSetEach(v, (item) => { out[n++] = packValue(item, depth + 1); });
      return tagged('s', out);
    }
    case 'ArrayBuffer':
      return tagged('b', valueToBase64(new HostBytes(v)));
    case 'Error': {
      const e = describeThrown(v);
      return tagged('e', hostList(e.name, e.message, e.stack === undefined ? null : e.stack));
    }
  }
  if (ArrayBuffer.isView(v)) return tagged('b', valueToBase64(new HostBytes(v.buffer, v.byteOffset, v.byteLength)));
  const proto = valueGetPrototypeOf(v);
  if (proto !== null && proto !== valuePlain) {
    const maker = proto.constructor;
    throw notSerializable(typeof maker === 'function' ? hostString(maker.name) : 'Object');
  }
  const keys = valueKeys(v);
  const record = hostCreate(null);
  let escape = false;
  for (let i = 0; i < keys.length; i++) {
    if (keys[i] === '$') escape = true;
    record[keys[i]] = packValue(v[keys[i]], depth + 1);
  }
  if (!escape) return record;
  for (let i = 0; i < keys.length; i++) out[i] = hostList(keys[i], record[keys[i]]);
  return tagged('o', out);
}

/** The value that packValue(), here or in Python, made a tree of. */
function unpackValue(tree) {
  if (typeof tree !== 'object' || tree === null) return tree;
  if (valueIsArray(tree)) {
    const out = [];
    for (let i = 0; i < tree.length; i++) valueDefine(out, i, member(unpackValue(tree[i])));
    return out;
  }
  if (!hostHas(tree, '$')) {
    const out = {};
    const keys = valueKeys(tree);
    for (let i = 0; i < keys.length; i++) valueDefine(out, keys[i], member(unpackValue(tree[keys[i]])));
    return out;
  }
  const v = tree.v;
  switch (tree.$) {
    case 'u': return undefined;
    case 'n': return +v;
    case 'i': return valueBigInt(v);
    case 'd': return new ValueDate(v);
    case 'b': return valueFromBase64(v);
    case 'e': return hostError(v[0], v[1]);
    case 'f': return makeFetcher(v);
    case 'm': {
      const map = new ValueMap();
      for (let i = 0; i < v.length; i++) valueMapSet(map, unpackValue(v[i][0]), unpackValue(v[i][1]));
      return map;
    }
    case 's': {
      const set = new ValueSet();
      for (let i = 0; i < v.length; i++) valueSetAdd(set, unpackValue(v[i]));
      return set;
    }
    case 'o': {
      const out = {};
      for (let i = 0; i < v.length; i++) valueDefine(out, v[i][0], member(unpackValue(v[i][1])));
      return out;
    }
  }
  return undefined;
}
const hostHas = hostUncurry(Object.prototype.hasOwnProperty);
function member(value) {
  return hostRecord({ value, writable: true, enumerable: true, configurable: true });
}

// ----------------------------------------------------------------------------------------------- service bindings

class Fetcher {
  get [Symbol.toStringTag]() {
    return 'Fetcher';
  }
}
const fetcherHandler = hostRecord({
  get(target, key) {
    const inherited = Fetcher.prototype[key];
    if (typeof key !== 'string' || inherited !== undefined || key === 'then' || key === 'toJSON') return inherited;
    const binding = target.binding;
    if (key === 'fetch') return (input, init) => fetchFrom(binding, input, init);
    return async (...args) => {
      const reply = await hostOp('call', hostRecord({ binding, method: key }), hostStringify(packValue(args, 0)));
      return unpackValue(hostParse(reply[0]));
    };
  },
  set: () => false,
  has: () => false,
  ownKeys: () => [],
  getOwnPropertyDescriptor: () => undefined,
  defineProperty: () => false,
});
native.stubHandler(fetcherHandler);

/** A stub of a service: fetch() and any method, performed by the host. `binding` says which. */
function makeFetcher(binding) {
  const target = hostCreate(Fetcher.prototype);
  target.binding = binding;
  return new Proxy(target, fetcherHandler);
}
