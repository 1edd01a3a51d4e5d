// Blob and File: bytes that never change, shared by slices.

let blobBytes;
let isBlob;
class Blob {
  #bytes;
  #type;
  constructor(parts = undefined, options = undefined) {
    if (parts === internal) {
      this.#bytes = options.bytes;
      this.#type = options.type;
      return;
    }
    const bag = dictionary(options, 'the options of Blob');
    const list = [];
    if (parts !== undefined) {
      if (typeof parts !== 'object' || parts === null || parts[SymbolIterator] === undefined) throw new TypeError('The parts of a Blob must be a list.');
      for (const part of parts) {
        const bytes = isBlob(part) ? part.#bytes : bytesOf(part);
        list[list.length] = bytes ?? native.utf8Encode(`${part}`);
      }
    }
    // One part is copied: the worker may change its array later.
    this.#bytes = list.length === 1 ? TypedArraySlice(list[0]) : joinBytes(list);
    const type = bag.type === undefined ? '' : `${bag.type}`;
    this.#type = RegExpExec(/[^\x20-\x7e]/, type) === null ? StringToLowerCase(type) : '';
  }
  get size() { return this.#bytes.length; }
  get type() { return this.#type; }
  arrayBuffer() { return PromiseResolve(TypedArraySlice(this.#bytes).buffer); }
  bytes() { return PromiseResolve(TypedArraySlice(this.#bytes)); }
  text() { return PromiseResolve(native.utf8Decode(this.#bytes, false, false)); }
  stream() { return streamOfBytes(this.#bytes); }
  slice(start = 0, end = undefined, type = '') {
    const size = this.#bytes.length;
    const from = sliceIndex(start, size);
    const to = MathMax(end === undefined ? size : sliceIndex(end, size), from);
    return new Blob(internal, { bytes: TypedArraySubarray(this.#bytes, from, to), type: StringToLowerCase(`${type}`) });
  }
  static {
    blobBytes = (blob) => blob.#bytes;
    isBlob = (value) => typeof value === 'object' && value !== null && #bytes in value;
  }
}
function sliceIndex(value, size) {
  const index = MathTrunc(+value) || 0;
  return index < 0 ? MathMax(size + index, 0) : MathMin(index, size);
}
expose(Blob);

let isFile;
class File extends Blob {
  #name;
  #lastModified;
  constructor(parts, name, options = undefined) {
    if (arguments.length < 2) throw new TypeError('File needs its parts and a name.');
    super(parts, options);
    this.#name = wellFormed(name);
    this.#lastModified = options?.lastModified === undefined ? DateNow() : MathTrunc(+options.lastModified) || 0;
  }
  get name() { return this.#name; }
  get lastModified() { return this.#lastModified; }
  static { isFile = (value) => typeof value === 'object' && value !== null && #name in value; }
}
expose(File);
