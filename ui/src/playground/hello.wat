;; A worker without JavaScript: it answers every request, and logs a line and an object.
;; Contract (worker ABI 1): the host asks otelbridge_alloc for room, writes the request there as JSON, and calls
;; otelbridge_fetch, which returns where its answer lies: the address in the high, the length in the low 32 bits.
(module
 (import "otelbridge" "log" (func $log (param i32 i32 i32)))
 (memory (export "memory") 16)
 (data (i32.const 16) "hello from WebAssembly")
 (data (i32.const 64) "{\"answer\":42,\"from\":\"wat\"}")
 (data (i32.const 128) "{\"status\":200,\"headers\":[[\"content-type\",\"text/plain\"]],\"body\":\"no JavaScript here\\n\"}")
 (func (export "otelbridge_alloc") (param $size i32) (result i32)
  (i32.const 65536))
 (func (export "otelbridge_fetch") (param $request i32) (param $size i32) (result i64)
  (call $log (i32.const 2) (i32.const 16) (i32.const 22)) ;; level 2 is info
  (call $log (i32.const 1) (i32.const 64) (i32.const 26)) ;; an object becomes fields
  (i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 86))))
