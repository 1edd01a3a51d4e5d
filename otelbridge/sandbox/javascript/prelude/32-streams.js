// Streams: the package web-streams-polyfill, and what workers have beyond it.

const {
  ReadableStream, ReadableStreamDefaultReader, ReadableStreamBYOBReader, ReadableStreamDefaultController, ReadableByteStreamController,
  ReadableStreamBYOBRequest, WritableStream, WritableStreamDefaultWriter, WritableStreamDefaultController, TransformStream,
  TransformStreamDefaultController, ByteLengthQueuingStrategy, CountQueuingStrategy,
} = webStreams;
for (const Class of [
  ReadableStream, ReadableStreamDefaultReader, ReadableStreamBYOBReader, ReadableStreamDefaultController, ReadableByteStreamController,
  ReadableStreamBYOBRequest, WritableStream, WritableStreamDefaultWriter, WritableStreamDefaultController, TransformStream,
  TransformStreamDefaultController, ByteLengthQueuingStrategy, CountQueuingStrategy,
]) {
  expose(Class);
}

const StreamGetReader = uncurryThis(ReadableStream.prototype.getReader);
const StreamCancel = uncurryThis(ReadableStream.prototype.cancel);
const StreamTee = uncurryThis(ReadableStream.prototype.tee);
const StreamLocked = getter(ReadableStream.prototype, 'locked');
const ReaderRead = uncurryThis(ReadableStreamDefaultReader.prototype.read);
const ReaderCancel = uncurryThis(ReadableStreamDefaultReader.prototype.cancel);
const ByteEnqueue = uncurryThis(ReadableByteStreamController.prototype.enqueue);
const ByteClose = uncurryThis(ReadableByteStreamController.prototype.close);
const TransformEnqueue = uncurryThis(TransformStreamDefaultController.prototype.enqueue);

function isReadableStream(value) {
  return typeof value === 'object' && value !== null && value instanceof ReadableStream;
}
function isDisturbed(stream) {
  return stream[webStreams.slots.disturbed] === true;
}
/** A stream of the bytes that are there already. */
function streamOfBytes(bytes) {
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (bytes.length > 0) ByteEnqueue(controller, TypedArraySlice(bytes));
      ByteClose(controller);
      if (bytes.length === 0) controller.byobRequest?.respond(0);
    },
  });
}
/** All bytes of a stream, whose reader is taken for good. */
function readAll(stream) {
  const reader = StreamGetReader(stream);
  const parts = [];
  const next = () =>
    PromiseThen(ReaderRead(reader), (step) => {
      if (step.done) return joinBytes(parts);
      const bytes = bytesOf(step.value);
      if (bytes === undefined) throw new TypeError('This ReadableStream did not return bytes.');
      parts[parts.length] = bytes;
      return next();
    });
  return next();
}
function chunkBytes(chunk) {
  const bytes = bytesOf(chunk);
  if (bytes === undefined) throw new TypeError('This TransformStream is being used as a byte stream, but received an object of non-ArrayBuffer/ArrayBufferView type on its writable side.');
  return bytes;
}

/** Passes bytes through, and nothing but bytes. */
class IdentityTransformStream extends TransformStream {
  constructor() {
    super({ transform(chunk, controller) { TransformEnqueue(controller, chunkBytes(chunk)); } });
  }
}
expose(IdentityTransformStream);

/** Passes exactly so many bytes through. */
class FixedLengthStream extends TransformStream {
  constructor(length) {
    let left = Number(length);
    if (!NumberIsInteger(left) || left < 0) throw new TypeError('FixedLengthStream needs a length.');
    super({
      transform(chunk, controller) {
        const bytes = chunkBytes(chunk);
        left -= bytes.length;
        if (left < 0) throw new TypeError('Attempt to write too many bytes through a FixedLengthStream.');
        TransformEnqueue(controller, bytes);
      },
      flush() {
        if (left > 0) throw new TypeError('FixedLengthStream did not see all expected bytes before close().');
      },
    });
  }
}
expose(FixedLengthStream);

class TextEncoderStream extends TransformStream {
  constructor() {
    let high = ''; // half of a surrogate pair
    super({
      transform(chunk, controller) {
        let text = high + chunk;
        const last = text === '' ? 0 : StringCharCodeAt(text, text.length - 1);
        high = last >= 0xd800 && last < 0xdc00 ? StringSlice(text, -1) : '';
        if (high !== '') text = StringSlice(text, 0, -1);
        if (text !== '') TransformEnqueue(controller, native.utf8Encode(text));
      },
      flush(controller) {
        if (high !== '') TransformEnqueue(controller, native.utf8Encode('\ufffd'));
      },
    });
  }
  get encoding() { return 'utf-8'; }
}
expose(TextEncoderStream);

class TextDecoderStream extends TransformStream {
  #decoder;
  constructor(label = 'utf-8', options = undefined) {
    const decoder = new TextDecoder(label, options);
    super({
      transform(chunk, controller) {
        const text = DecoderDecode(decoder, chunk, { stream: true });
        if (text !== '') TransformEnqueue(controller, text);
      },
      flush(controller) {
        const text = DecoderDecode(decoder);
        if (text !== '') TransformEnqueue(controller, text);
      },
    });
    this.#decoder = decoder;
  }
  get encoding() { return this.#decoder.encoding; }
  get fatal() { return this.#decoder.fatal; }
  get ignoreBOM() { return this.#decoder.ignoreBOM; }
}
const DecoderDecode = uncurryThis(TextDecoder.prototype.decode);
expose(TextDecoderStream);
