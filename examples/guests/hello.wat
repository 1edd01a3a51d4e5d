;; The smallest worker of ABI 1: answers every request with the same JSON and logs a line of each level.
;; Any tool that reads the text format makes the module, for example: wat2wasm hello.wat
(module
 (import "otelbridge" "log" (func $log (param i32 i32 i32)))
 (memory (export "memory") 1)
 (data (i32.const 16) "hello from WebAssembly text")
 (data (i32.const 64) "{\"answer\":42,\"from\":\"wat\"}")
 (data (i32.const 256) "{\"status\":200,\"headers\":[[\"content-type\",\"text/plain\"]],\"body\":\"hello from wat\\n\"}")
 ;; Room for the request: everything from 64 KiB on, grown when it does not suffice. Requests come one at a time.
 (func (export "otelbridge_alloc") (param $size i32) (result i32)
  (local $missing i32)
  (local.set $missing (i32.sub
   (i32.shr_u (i32.add (local.get $size) (i32.const 131071)) (i32.const 16))
   (memory.size)))
  (if (i32.gt_s (local.get $missing) (i32.const 0))
   (then (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then (return (i32.const 0))))))
  (i32.const 65536))
 (func (export "otelbridge_fetch") (param $request i32) (param $size i32) (result i64)
  (local $level i32)
  (loop $levels
   (call $log (local.get $level) (i32.const 16) (i32.const 27))
   (local.set $level (i32.add (local.get $level) (i32.const 1)))
   (br_if $levels (i32.lt_u (local.get $level) (i32.const 5))))
  (call $log (i32.const 1) (i32.const 64) (i32.const 26))
  ;; pointer in the high half, length in the low half
  (i64.or (i64.shl (i64.const 256) (i64.const 32)) (i64.const 82))))
