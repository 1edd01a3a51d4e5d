// Builtins as they are before a worker's code runs. A worker may replace any of them later: what the host protocol and
// the platform classes use comes from here. Names: <Type><Method>(receiver, ...arguments), or the constructor's own.

const {
  Object, Array, Function, Number, String, Symbol, Promise, Proxy, Map, Set, WeakMap, WeakSet, Date, RegExp, ArrayBuffer,
  DataView, Uint8Array, BigInt, Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError, DOMException,
  parseInt, encodeURIComponent, decodeURIComponent, queueMicrotask, Iterator,
} = globalThis;

const uncurryThis = Function.prototype.bind.bind(Function.prototype.call);


const {
  create: ObjectCreate, defineProperty: ObjectDefineProperty, defineProperties: ObjectDefineProperties, freeze: ObjectFreeze,
  getPrototypeOf: ObjectGetPrototypeOf, setPrototypeOf: ObjectSetPrototypeOf, keys: ObjectKeys, assign: ObjectAssign,
  getOwnPropertyNames: ObjectGetOwnPropertyNames, getOwnPropertyDescriptor: ObjectGetOwnPropertyDescriptor,
} = Object;
const { apply: ReflectApply, ownKeys: ReflectOwnKeys } = Reflect;
const { parse: JSONParse, stringify: JSONStringify } = JSON;
const { floor: MathFloor, min: MathMin, max: MathMax, trunc: MathTrunc, abs: MathAbs } = Math;
const { isArray: ArrayIsArray } = Array;
const { isInteger: NumberIsInteger, isFinite: NumberIsFinite } = Number;
const { isView: ArrayBufferIsView } = ArrayBuffer;
const StringFromCharCode = String.fromCharCode;
const DateNow = Date.now;

const ObjectHasOwn = uncurryThis(Object.prototype.hasOwnProperty);
const ArrayJoin = uncurryThis(Array.prototype.join);
const ArraySlice = uncurryThis(Array.prototype.slice);
const ArraySplice = uncurryThis(Array.prototype.splice);
const ArraySort = uncurryThis(Array.prototype.sort);
const ArrayIndexOf = uncurryThis(Array.prototype.indexOf);
const StringCharCodeAt = uncurryThis(String.prototype.charCodeAt);
const StringCodePointAt = uncurryThis(String.prototype.codePointAt);
const StringIncludes = uncurryThis(String.prototype.includes);
const StringIndexOf = uncurryThis(String.prototype.indexOf);
const StringIsWellFormed = uncurryThis(String.prototype.isWellFormed);
const StringLastIndexOf = uncurryThis(String.prototype.lastIndexOf);
const StringNormalize = uncurryThis(String.prototype.normalize);
const StringPadStart = uncurryThis(String.prototype.padStart);
const StringReplace = uncurryThis(String.prototype.replace);
const StringSlice = uncurryThis(String.prototype.slice);
const StringSplit = uncurryThis(String.prototype.split);
const StringStartsWith = uncurryThis(String.prototype.startsWith);
const StringToLowerCase = uncurryThis(String.prototype.toLowerCase);
const StringToUpperCase = uncurryThis(String.prototype.toUpperCase);
const StringToWellFormed = uncurryThis(String.prototype.toWellFormed);
const StringTrim = uncurryThis(String.prototype.trim);
const NumberToString = uncurryThis(Number.prototype.toString);
const RegExpExec = uncurryThis(RegExp.prototype.exec);
const RegExpReplace = uncurryThis(RegExp.prototype[Symbol.replace]);
const FunctionCall = uncurryThis(Function.prototype.call);
const PromiseThen = uncurryThis(Promise.prototype.then);
const PromiseResolve = Promise.resolve.bind(Promise);
const PromiseReject = Promise.reject.bind(Promise);
const MapGet = uncurryThis(Map.prototype.get);
const MapSet = uncurryThis(Map.prototype.set);
const MapHas = uncurryThis(Map.prototype.has);
const MapDelete = uncurryThis(Map.prototype.delete);
const MapForEach = uncurryThis(Map.prototype.forEach);
const SetAdd = uncurryThis(Set.prototype.add);
const SetForEach = uncurryThis(Set.prototype.forEach);
const DateGetTime = uncurryThis(Date.prototype.getTime);
const TypedArrayPrototype = ObjectGetPrototypeOf(Uint8Array.prototype);
const TypedArraySet = uncurryThis(TypedArrayPrototype.set);
const TypedArraySlice = uncurryThis(TypedArrayPrototype.slice);
const TypedArraySubarray = uncurryThis(TypedArrayPrototype.subarray);
const getter = (prototype, name) => uncurryThis(ObjectGetOwnPropertyDescriptor(prototype, name).get);
const TypedArrayName = getter(TypedArrayPrototype, Symbol.toStringTag);
const TypedArrayBuffer = getter(TypedArrayPrototype, 'buffer');
const TypedArrayByteOffset = getter(TypedArrayPrototype, 'byteOffset');
const TypedArrayByteLength = getter(TypedArrayPrototype, 'byteLength');
const DataViewBuffer = getter(DataView.prototype, 'buffer');
const DataViewByteOffset = getter(DataView.prototype, 'byteOffset');
const DataViewByteLength = getter(DataView.prototype, 'byteLength');
const ArrayBufferByteLength = getter(ArrayBuffer.prototype, 'byteLength');
const ArrayBufferSlice = uncurryThis(ArrayBuffer.prototype.slice);
const Uint8ArrayFromBase64 = Uint8Array.fromBase64.bind(Uint8Array);
const Uint8ArrayToBase64 = uncurryThis(Uint8Array.prototype.toBase64);
const DOMExceptionName = getter(DOMException.prototype, 'name');
const DOMExceptionMessage = getter(DOMException.prototype, 'message');
const ArrayIteratorPrototype = ObjectGetPrototypeOf([][Symbol.iterator]());
const IteratorPrototype = ObjectGetPrototypeOf(ArrayIteratorPrototype);
const { iterator: SymbolIterator, toStringTag: SymbolToStringTag, asyncIterator: SymbolAsyncIterator } = Symbol;

/** Give `target` a member as the platform's own globals are: writable, configurable, not enumerable. */
function hidden(target, name, value) {
  ObjectDefineProperty(target, name, { __proto__: null, value, writable: true, enumerable: false, configurable: true });
}
/** Make a class of the platform visible to workers, with its "[object Name]". */
function expose(Class, name = Class.name) {
  ObjectDefineProperty(Class.prototype, SymbolToStringTag, { __proto__: null, value: name, configurable: true });
  hidden(globalThis, name, Class);
}
/** Make a plain function visible to workers. */
function exposeFunction(fn) {
  hidden(globalThis, fn.name, fn);
}

/** The bytes of an ArrayBuffer or of a view, without a copy; undefined for anything else. */
function bytesOf(value) {
  if (typeof value !== 'object' || value === null) return undefined;
  if (ArrayBufferIsView(value)) {
    if (TypedArrayName(value) === undefined) {
      return new Uint8Array(DataViewBuffer(value), DataViewByteOffset(value), DataViewByteLength(value));
    }
    return new Uint8Array(TypedArrayBuffer(value), TypedArrayByteOffset(value), TypedArrayByteLength(value));
  }
  return native.classOf(value) === 'ArrayBuffer' ? new Uint8Array(value) : undefined;
}
/** A string without lone surrogates (what the web platform calls a USVString). */
function wellFormed(value) {
  const text = `${value}`;
  return StringIsWellFormed(text) ? text : StringToWellFormed(text);
}
/** One Uint8Array of a list of them. */
function joinBytes(parts) {
  if (parts.length === 1) return parts[0];
  let size = 0;
  for (let i = 0; i < parts.length; i++) size += TypedArrayByteLength(parts[i]);
  const out = new Uint8Array(size);
  for (let i = 0, at = 0; i < parts.length; i++) {
    TypedArraySet(out, parts[i], at);
    at += TypedArrayByteLength(parts[i]);
  }
  return out;
}
/** An options bag: an object, or nothing. */
function dictionary(value, what) {
  if (value === undefined || value === null) return noOptions;
  if (typeof value !== 'object' && typeof value !== 'function') throw new TypeError(`Incorrect type for ${what}: the value is not an object.`);
  return value;
}
const noOptions = ObjectFreeze(ObjectCreate(null));

const MODULE_SCOPE_TEXT =
  'Disallowed operation called within global scope. Asynchronous I/O (ex: fetch() or connect()), setting a timeout, and generating random values ' +
  'are not allowed within global scope. To fix this error, perform this operation within a handler. https://developers.cloudflare.com/workers/runtime-apis/handlers/';
/** Refuse what would make a worker's image depend on the moment it was made. */
function refuseAtModuleScope() {
  if (native.atModuleScope()) throw new Error(MODULE_SCOPE_TEXT);
}
