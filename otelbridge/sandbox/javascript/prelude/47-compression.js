// CompressionStream and DecompressionStream.
//
// Host operation "compress", in pieces so that no single one takes long (otelbridge/loader/compression.py):
//   {step: "open", id, format, mode: "compress"|"decompress"}     -> null
//   {step: "push", id} + at most 65536 bytes                       -> whether there is more output, bytes
//   {step: "more", id}                                             -> the same
//   {step: "finish", id}                                           -> the same; an error when the input was incomplete
//   {step: "drop", id}                                             -> null

const COMPRESS_PIECE = 65536;
const compressionFormats = { __proto__: null, gzip: 1, deflate: 1, 'deflate-raw': 1 };
let lastCodec = 0;

function codecTransformer(format, mode) {
  let id = 0;
  const step = (name, controller, blob) =>
    PromiseThen(hostOp('compress', hostRecord({ step: name, id }), blob), (reply) => {
      if (reply[1] !== null && reply[1].length > 0) TransformEnqueue(controller, reply[1]);
      return reply[0] === true ? step('more', controller, undefined) : undefined;
    });
  const pieces = (bytes, at, controller) => {
    if (at >= bytes.length) return undefined;
    return PromiseThen(step('push', controller, TypedArraySubarray(bytes, at, at + COMPRESS_PIECE)), () => pieces(bytes, at + COMPRESS_PIECE, controller));
  };
  const opened = () => {
    if (id > 0) return PromiseResolve();
    id = ++lastCodec;
    return hostOp('compress', hostRecord({ step: 'open', id, format, mode }));
  };
  return {
    transform(chunk, controller) {
      const bytes = chunkBytes(chunk);
      return PromiseThen(opened(), () => pieces(bytes, 0, controller));
    },
    flush(controller) {
      return PromiseThen(opened(), () => step('finish', controller, undefined));
    },
    cancel() {
      return id > 0 ? hostOp('compress', hostRecord({ step: 'drop', id })) : undefined;
    },
  };
}
function compressionFormat(format) {
  const name = `${format}`;
  if (compressionFormats[name] === undefined) throw new TypeError('The compression format must be either \'deflate\', \'deflate-raw\' or \'gzip\'.');
  return name;
}

class CompressionStream extends TransformStream {
  constructor(format) { super(codecTransformer(compressionFormat(format), 'compress')); }
}
expose(CompressionStream);

class DecompressionStream extends TransformStream {
  constructor(format) { super(codecTransformer(compressionFormat(format), 'decompress')); }
}
expose(DecompressionStream);
