// A worker of ABI 1 in AssemblyScript. Build it with the npm package assemblyscript:
//
//   npx asc hello.ts --optimize --exportRuntime --use abort=hello/abort -o hello.wasm
//
// `--use` replaces AssemblyScript's own import env.abort, which the worker ABI does not have; here an abort becomes an
// error line, and the trap after it ends the invocation.

@external("otelbridge", "log")
declare function hostLog(level: i32, text: usize, length: i32): void;

enum Level {
  Debug,
  Log,
  Info,
  Warn,
  Error,
}

function log(level: Level, text: string): void {
  const bytes = String.UTF8.encode(text);
  hostLog(level, changetype<usize>(bytes), bytes.byteLength);
}

export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  log(Level.Error, (message ? message : "abort") + " at " + (file ? file : "?") + ":" + line.toString() + ":" + column.toString());
  unreachable();
}

// What the host writes into and reads from must not be collected in between: both are kept in globals.
let request: ArrayBuffer = new ArrayBuffer(0);
let response: ArrayBuffer = new ArrayBuffer(0);

export function otelbridge_alloc(length: i32): usize {
  request = new ArrayBuffer(length > 0 ? length : 1);
  return changetype<usize>(request);
}

export function otelbridge_fetch(pointer: usize, length: i32): u64 {
  const json = String.UTF8.decodeUnsafe(pointer, length);
  log(Level.Info, "a request of " + length.toString() + " bytes");
  log(Level.Debug, json); // JSON in, so the line has fields
  response = String.UTF8.encode('{"status":200,"headers":[["content-type","text/plain"]],"body":"hello from AssemblyScript\\n"}');
  return ((<u64>changetype<usize>(response)) << 32) | response.byteLength;
}
