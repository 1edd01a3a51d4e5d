// structuredClone().

function notCloneable(value) {
  let name;
  try {
    name = typeof value === 'function' ? `${value}` : typeof value === 'symbol' ? `${String(value)}` : `#<${value.constructor.name}>`;
  } catch {
    name = 'The object';
  }
  return new DOMException(`${name} could not be cloned.`, 'DataCloneError');
}
const errorClasses = { __proto__: null, Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError };
const typedArrays = { __proto__: null };
for (const name of ObjectGetOwnPropertyNames(globalThis)) {
  const Class = globalThis[name];
  if (typeof Class === 'function' && ObjectGetPrototypeOf(Class) === ObjectGetPrototypeOf(Uint8Array)) typedArrays[name] = Class;
}
const BooleanValue = uncurryThis(Boolean.prototype.valueOf);
const NumberValue = uncurryThis(Number.prototype.valueOf);
const StringValue = uncurryThis(String.prototype.valueOf);
const BigIntValue = uncurryThis(BigInt.prototype.valueOf);
const RegExpSource = getter(RegExp.prototype, 'source');
const RegExpFlags = getter(RegExp.prototype, 'flags');
const TypedArrayLength = getter(TypedArrayPrototype, 'length');
const ArrayBufferTransfer = uncurryThis(ArrayBuffer.prototype.transfer);
const ArrayBufferDetached = getter(ArrayBuffer.prototype, 'detached');

/** Whether it is an object of the platform's that can't be cloned. */
function isPlatformObject(value) {
  return isHeaders(value) || isRequest(value) || isResponse(value) || isURL(value) || isParams(value) || isFormData(value) || isEventTarget(value) ||
    eventFlags(value) !== undefined || isReadableStream(value) || value instanceof WritableStream || value instanceof TransformStream || isCryptoKey(value);
}

function cloneValue(value, seen) {
  if (typeof value === 'symbol' || typeof value === 'function') throw notCloneable(value);
  if (typeof value !== 'object' || value === null) return value;
  const done = MapGet(seen, value);
  if (done !== undefined) return done;
  const remember = (copy) => {
    MapSet(seen, value, copy);
    return copy;
  };
  if (ArrayIsArray(value)) {
    const copy = remember(new Array(value.length));
    copyMembers(copy, value, seen);
    return copy;
  }
  const kind = native.classOf(value);
  switch (kind) {
    case 'Object':
      break;
    case 'Boolean': return remember(Object(BooleanValue(value)));
    case 'Number': return remember(Object(NumberValue(value)));
    case 'String': return remember(Object(StringValue(value)));
    case 'BigInt': return remember(Object(BigIntValue(value)));
    case 'Date': return remember(new Date(DateGetTime(value)));
    case 'RegExp': return remember(new RegExp(RegExpSource(value), RegExpFlags(value)));
    case 'ArrayBuffer':
      if (ArrayBufferDetached(value)) throw new DOMException('An ArrayBuffer is detached and could not be cloned.', 'DataCloneError');
      return remember(ArrayBufferSlice(value, 0));
    case 'DataView':
      return remember(new DataView(cloneValue(DataViewBuffer(value), seen), DataViewByteOffset(value), DataViewByteLength(value)));
    case 'Map': {
      const copy = remember(new Map());
      const entries = [];
      MapForEach(value, (item, key) => { entries[entries.length] = [key, item]; });
      for (let i = 0; i < entries.length; i++) MapSet(copy, cloneValue(entries[i][0], seen), cloneValue(entries[i][1], seen));
      return copy;
    }
    case 'Set': {
      const copy = remember(new Set());
      const items = [];
      SetForEach(value, (item) => { items[items.length] = item; });
      for (let i = 0; i < items.length; i++) SetAdd(copy, cloneValue(items[i], seen));
      return copy;
    }
    case 'Error': return cloneError(value, remember, seen);
    case 'DOMException': return remember(new DOMException(DOMExceptionMessage(value), DOMExceptionName(value)));
    case 'Arguments':
    case 'MappedArguments': break;
    default:
      if (kind in typedArrays) {
        const buffer = cloneValue(TypedArrayBuffer(value), seen);
        return remember(new typedArrays[kind](buffer, TypedArrayByteOffset(value), TypedArrayLength(value)));
      }
      throw notCloneable(value);
  }
  if (isBlob(value)) return remember(isFile(value) ? new File([value], value.name, { type: value.type, lastModified: value.lastModified }) : value.slice(0, value.size, value.type));
  const prototype = ObjectGetPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null && isPlatformObject(value)) throw notCloneable(value);
  const copy = remember({});
  copyMembers(copy, value, seen);
  return copy;
}
function copyMembers(copy, value, seen) {
  const keys = ObjectKeys(value);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    ObjectDefineProperty(copy, key, { __proto__: null, value: cloneValue(value[key], seen), writable: true, enumerable: true, configurable: true });
  }
}
function cloneError(value, remember, seen) {
  const Class = errorClasses[value.name] ?? Error;
  const message = ObjectGetOwnPropertyDescriptor(value, 'message');
  const copy = remember(message === undefined || !('value' in message) ? new Class() : new Class(`${message.value}`));
  const { stack } = value;
  if (typeof stack === 'string') hidden(copy, 'stack', stack);
  if (ObjectHasOwn(value, 'cause')) hidden(copy, 'cause', cloneValue(value.cause, seen));
  return copy;
}

function structuredClone(value, options = undefined) {
  if (arguments.length === 0) throw new TypeError('structuredClone() needs a value.');
  const bag = dictionary(options, 'the options of structuredClone()');
  const seen = new Map();
  if (bag.transfer !== undefined) {
    const list = [...bag.transfer];
    for (let i = 0; i < list.length; i++) {
      const item = list[i];
      if (typeof item !== 'object' || item === null || native.classOf(item) !== 'ArrayBuffer') throw new DOMException('A value in the transfer list could not be transferred.', 'DataCloneError');
      if (ArrayBufferDetached(item)) throw new DOMException('An ArrayBuffer is detached and could not be transferred.', 'DataCloneError');
      for (let j = 0; j < i; j++) if (list[j] === item) throw new DOMException('The transfer list holds an object twice.', 'DataCloneError');
    }
    for (let i = 0; i < list.length; i++) MapSet(seen, list[i], ArrayBufferSlice(list[i], 0));
    const copy = cloneValue(value, seen);
    for (let i = 0; i < list.length; i++) ArrayBufferTransfer(list[i]); // the old one is detached
    return copy;
  }
  return cloneValue(value, seen);
}
exposeFunction(structuredClone);
