;; The shim between a core-module guest and nothing: worker ABI 1 and WASI preview 1, all inside WebAssembly.
;;
;; A line that goes through a Python callback costs 800 to 8600 ns; here it costs 50, and a bad pointer traps like any
;; other access. $g is the guest's memory; $h is ours, which the guest can't reach, so the host may trust its words.
;; The layout of $h is core/words.py's.
(module
 (import "env" "memory" (memory $g 0))
 (memory $h (export "memory") 4)
 (data (memory $h) (i32.const 256) "worker\00")
 (data (memory $h) (i32.const 512) "Log size limit exceeded: More than 256KB of data (across console.log statements, exception, request metadata and headers) was logged during a single request. Subsequent data for this request will not be recorded in logs, appear when tailing this Worker's logs, or in Tail Workers.")

 ;; ------------------------------------------------------------------------------------------------------- memory

 ;; Trap as the access itself would, before anything was written.
 (func $check (param $p i32) (param $n i32)
  (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $p)) (i64.extend_i32_u (local.get $n)))
                (i64.shl (i64.extend_i32_u (memory.size $g)) (i64.const 16)))
   (then (drop (i32.load8_u $g (i32.const -1))) (unreachable))))

 (func $flag (param $bit i32)
  (i32.store $h (i32.const 24) (i32.or (i32.load $h (i32.const 24)) (local.get $bit))))

 (func $lost (param $bytes i32)
  (i64.store $h (i32.const 16) (i64.add (i64.load $h (i32.const 16)) (i64.extend_i32_u (local.get $bytes)))))

 ;; Each reading of the clock is later than the one before, although the host moves it only between slices.
 (func $tick (result i64)
  (i64.store $h (i32.const 112) (i64.add (i64.load $h (i32.const 112)) (i64.const 1)))
  (i64.load $h (i32.const 112)))

 ;; --------------------------------------------------------------------------------------------------------- ring

 ;; The header of an entry (model/ring.py) of $n bytes; its address.
 (func $header (param $level i32) (param $n i32) (result i32) (local $at i32)
  (local.set $at (i32.add (i32.load $h (i32.const 0)) (i32.load $h (i32.const 8))))
  (i64.store $h (i32.add (local.get $at) (i32.and (i32.add (local.get $n) (i32.const 23)) (i32.const -8))) (i64.const 0)) ;; padding
  (i32.store $h (local.get $at) (local.get $n))
  (i32.store $h offset=4 (local.get $at) (i32.or (i32.const 1) (i32.shl (local.get $level) (i32.const 8))))
  (i64.store $h offset=8 (local.get $at) (i64.add (i64.load $h (i32.const 32)) (call $tick)))
  (i64.store $h offset=16 (local.get $at) (i64.const 0))
  (local.get $at))

 ;; The entry counts from here on: the host may read between two slices, in the middle of all this.
 (func $commit (param $n i32)
  (i32.store $h (i32.const 8)
   (i32.add (i32.load $h (i32.const 8)) (i32.and (i32.add (local.get $n) (i32.const 31)) (i32.const -8)))))

 ;; Room for a line, within the invocation's budget of 80 bytes and its text for each; 0 when it is dropped.
 (func $room (param $level i32) (param $n i32) (result i32) (local $cost i32)
  (local.set $cost (i32.add (local.get $n) (i32.const 80)))
  (if (i32.eqz (i32.load $h (i32.const 108)))
   (then
    (if (i32.le_u (local.get $cost) (i32.load $h (i32.const 28)))
     (then
      (i32.store $h (i32.const 28) (i32.sub (i32.load $h (i32.const 28)) (local.get $cost)))
      (return (call $header (local.get $level) (local.get $n)))))
    (i32.store $h (i32.const 108) (i32.const 1))
    (call $flag (i32.const 1))
    (memory.copy $h $h (i32.add (call $header (i32.const 3) (i32.const 280)) (i32.const 24)) (i32.const 512) (i32.const 280))
    (call $commit (i32.const 280))))
  (i32.store $h (i32.const 12) (i32.add (i32.load $h (i32.const 12)) (i32.const 1)))
  (call $lost (local.get $cost))
  (i32.const 0))

 ;; What is kept of a text of $n bytes: at most 64 KiB, not cut inside a character.
 (func $cut (param $p i32) (param $n i32) (result i32) (local $kept i32)
  (if (i32.le_u (local.get $n) (i32.const 65536)) (then (return (local.get $n))))
  (local.set $kept (i32.const 65536))
  (loop $back
   (if (i32.eq (i32.and (i32.load8_u $g (i32.add (local.get $p) (local.get $kept))) (i32.const 0xC0)) (i32.const 0x80))
    (then
     (local.set $kept (i32.sub (local.get $kept) (i32.const 1)))
     (br_if $back (i32.gt_u (local.get $kept) (i32.const 65532))))))
  (call $flag (i32.const 1))
  (call $lost (i32.sub (local.get $n) (local.get $kept)))
  (local.get $kept))

 (func (export "otelbridge.log") (param $level i32) (param $p i32) (param $n i32) (local $at i32)
  (call $check (local.get $p) (local.get $n))
  (if (i32.gt_u (local.get $level) (i32.const 4)) (then (local.set $level (i32.const 1))))
  (local.set $n (call $cut (local.get $p) (local.get $n)))
  (local.set $at (call $room (local.get $level) (local.get $n)))
  (if (local.get $at)
   (then
    (memory.copy $h $g (i32.add (local.get $at) (i32.const 24)) (local.get $p) (local.get $n))
    (call $commit (local.get $n)))))

 ;; --------------------------------------------------------------------------------------- stdout and stderr as lines

 ;; The line collected for a descriptor becomes an entry: info for stdout, error for stderr.
 (func $line (param $fd i32) (local $n i32) (local $at i32) (local $buffer i32) (local $count i32)
  (local.set $buffer (i32.shl (local.get $fd) (i32.const 16)))
  (local.set $count (i32.add (i32.const 96) (i32.shl (local.get $fd) (i32.const 2))))
  (local.set $n (i32.load $h (local.get $count)))
  (i32.store $h (local.get $count) (i32.const 0))
  (if (local.get $n)
   (then
    (if (i32.eq (i32.load8_u $h (i32.add (local.get $buffer) (i32.sub (local.get $n) (i32.const 1)))) (i32.const 13))
     (then (local.set $n (i32.sub (local.get $n) (i32.const 1)))))))
  (local.set $at (call $room (i32.shl (local.get $fd) (i32.const 1)) (local.get $n)))
  (if (local.get $at)
   (then
    (memory.copy $h $h (i32.add (local.get $at) (i32.const 24)) (local.get $buffer) (local.get $n))
    (call $commit (local.get $n)))))

 (func $lines (param $fd i32) (param $p i32) (param $n i32)
  (local $end i32) (local $at i32) (local $part i32) (local $used i32) (local $count i32) (local $free i32)
  (local.set $end (i32.add (local.get $p) (local.get $n)))
  (local.set $count (i32.add (i32.const 96) (i32.shl (local.get $fd) (i32.const 2))))
  (loop $next
   (if (i32.lt_u (local.get $p) (local.get $end))
    (then
     (local.set $at (local.get $p))
     (block $found
      (loop $scan
       (br_if $found (i32.eq (i32.load8_u $g (local.get $at)) (i32.const 10)))
       (local.set $at (i32.add (local.get $at) (i32.const 1)))
       (br_if $scan (i32.lt_u (local.get $at) (local.get $end)))))
     (local.set $part (i32.sub (local.get $at) (local.get $p)))
     (local.set $used (i32.load $h (local.get $count)))
     (local.set $free (i32.sub (i32.const 65536) (local.get $used)))
     (if (i32.gt_u (local.get $part) (local.get $free))
      (then
       (call $flag (i32.const 1))
       (call $lost (i32.sub (local.get $part) (local.get $free)))
       (local.set $part (local.get $free))))
     (memory.copy $h $g (i32.add (i32.shl (local.get $fd) (i32.const 16)) (local.get $used)) (local.get $p) (local.get $part))
     (i32.store $h (local.get $count) (i32.add (local.get $used) (local.get $part)))
     (if (i32.lt_u (local.get $at) (local.get $end)) (then (call $line (local.get $fd))))
     (local.set $p (i32.add (local.get $at) (i32.const 1)))
     (br $next)))))

 ;; stdout of a command: its response. 0 or an errno.
 (func $answer (param $p i32) (param $n i32) (result i32) (local $used i32) (local $missing i64)
  (local.set $used (i32.load $h (i32.const 68)))
  (if (i32.gt_u (local.get $n) (i32.sub (i32.load $h (i32.const 72)) (local.get $used)))
   (then (call $flag (i32.const 4)) (return (i32.const 22)))) ;; EFBIG
  (local.set $missing (i64.sub
   (i64.add (i64.add (i64.extend_i32_u (i32.load $h (i32.const 64))) (i64.extend_i32_u (local.get $used))) (i64.extend_i32_u (local.get $n)))
   (i64.shl (i64.extend_i32_u (memory.size $h)) (i64.const 16))))
  (if (i64.gt_s (local.get $missing) (i64.const 0))
   (then
    (if (i32.eq (i32.const -1) (memory.grow $h (i32.add (i32.const 16) (i32.wrap_i64 (i64.shr_u (local.get $missing) (i64.const 16))))))
     (then (call $flag (i32.const 4)) (return (i32.const 22))))))
  (memory.copy $h $g (i32.add (i32.load $h (i32.const 64)) (local.get $used)) (local.get $p) (local.get $n))
  (i32.store $h (i32.const 68) (i32.add (local.get $used) (local.get $n)))
  (i32.const 0))

 (func (export "wasi_snapshot_preview1.fd_write") (param $fd i32) (param $iovs i32) (param $count i32) (param $out i32) (result i32)
  (local $p i32) (local $n i32) (local $total i32) (local $error i32)
  (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8)))) ;; EBADF
  (block $done
   (loop $next
    (br_if $done (i32.eqz (local.get $count)))
    (local.set $p (i32.load $g (local.get $iovs)))
    (local.set $n (i32.load $g offset=4 (local.get $iovs)))
    (call $check (local.get $p) (local.get $n))
    (if (i32.and (i32.eq (local.get $fd) (i32.const 1)) (i32.ne (i32.load $h (i32.const 64)) (i32.const 0)))
     (then
      (local.set $error (call $answer (local.get $p) (local.get $n)))
      (if (local.get $error) (then (return (local.get $error)))))
     (else (call $lines (local.get $fd) (local.get $p) (local.get $n))))
    (local.set $total (i32.add (local.get $total) (local.get $n)))
    (local.set $iovs (i32.add (local.get $iovs) (i32.const 8)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $next)))
  (i32.store $g (local.get $out) (local.get $total))
  (i32.const 0))

 (func (export "wasi_snapshot_preview1.fd_read") (param $fd i32) (param $iovs i32) (param $count i32) (param $out i32) (result i32)
  (local $p i32) (local $n i32) (local $total i32) (local $left i32)
  (if (local.get $fd) (then (return (i32.const 8))))
  (block $done
   (loop $next
    (br_if $done (i32.eqz (local.get $count)))
    (local.set $p (i32.load $g (local.get $iovs)))
    (local.set $n (i32.load $g offset=4 (local.get $iovs)))
    (call $check (local.get $p) (local.get $n))
    (local.set $left (i32.sub (i32.load $h (i32.const 80)) (i32.load $h (i32.const 84))))
    (if (i32.gt_u (local.get $n) (local.get $left)) (then (local.set $n (local.get $left))))
    (br_if $done (i32.eqz (local.get $left)))
    (memory.copy $g $h (local.get $p) (i32.add (i32.load $h (i32.const 76)) (i32.load $h (i32.const 84))) (local.get $n))
    (i32.store $h (i32.const 84) (i32.add (i32.load $h (i32.const 84)) (local.get $n)))
    (local.set $total (i32.add (local.get $total) (local.get $n)))
    (local.set $iovs (i32.add (local.get $iovs) (i32.const 8)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $next)))
  (i32.store $g (local.get $out) (local.get $total))
  (i32.const 0))

 ;; --------------------------------------------------------------------------------------- arguments and environment

 (func (export "wasi_snapshot_preview1.args_sizes_get") (param $count i32) (param $size i32) (result i32)
  (i32.store $g (local.get $count) (i32.const 1))
  (i32.store $g (local.get $size) (i32.const 7))
  (i32.const 0))
 (func (export "wasi_snapshot_preview1.args_get") (param $argv i32) (param $to i32) (result i32)
  (i32.store $g (local.get $argv) (local.get $to))
  (memory.copy $g $h (local.get $to) (i32.const 256) (i32.const 7))
  (i32.const 0))
 (func (export "wasi_snapshot_preview1.environ_sizes_get") (param $count i32) (param $size i32) (result i32)
  (i32.store $g (local.get $count) (i32.load $h (i32.const 92)))
  (i32.store $g (local.get $size) (i32.load $h (i32.const 96)))
  (i32.const 0))
 (func (export "wasi_snapshot_preview1.environ_get") (param $list i32) (param $to i32) (result i32) (local $p i32) (local $end i32) (local $begin i32)
  (local.set $p (i32.load $h (i32.const 88)))
  (local.set $end (i32.add (local.get $p) (i32.load $h (i32.const 96))))
  (memory.copy $g $h (local.get $to) (local.get $p) (i32.load $h (i32.const 96)))
  (local.set $begin (i32.const 1))
  (block $done
   (loop $next
    (br_if $done (i32.ge_u (local.get $p) (local.get $end)))
    (if (local.get $begin)
     (then
      (i32.store $g (local.get $list) (local.get $to))
      (local.set $list (i32.add (local.get $list) (i32.const 4)))))
    (local.set $begin (i32.eqz (i32.load8_u $h (local.get $p))))
    (local.set $p (i32.add (local.get $p) (i32.const 1)))
    (local.set $to (i32.add (local.get $to) (i32.const 1)))
    (br $next)))
  (i32.const 0))

 ;; -------------------------------------------------------------------------------------------------- clock and sleep

 ;; 0 wall clock; 1 since the invocation began; 2 and 3, CPU time, are the same: nothing more is known in here.
 (func $now (param $clock i32) (result i64)
  (i64.add (i64.load $h (select (i32.const 40) (i32.const 32) (local.get $clock))) (call $tick)))
 (func (export "wasi_snapshot_preview1.clock_time_get") (param $clock i32) (param $precision i64) (param $out i32) (result i32)
  (if (i32.gt_u (local.get $clock) (i32.const 3)) (then (return (i32.const 28)))) ;; EINVAL
  (i64.store $g (local.get $out) (call $now (local.get $clock)))
  (i32.const 0))
 (func (export "wasi_snapshot_preview1.clock_res_get") (param $clock i32) (param $out i32) (result i32)
  (if (i32.gt_u (local.get $clock) (i32.const 3)) (then (return (i32.const 28))))
  (i64.store $g (local.get $out) (i64.const 1000000))
  (i32.const 0))
 (func (export "wasi_snapshot_preview1.sched_yield") (result i32) (i32.const 0))

 ;; When the time of a subscription has come, by the clock at 40, if it was made at $since; about a descriptor: at once.
 (func $due (param $s i32) (param $since i64) (result i64) (local $time i64)
  (if (i32.load8_u $g offset=8 (local.get $s)) (then (return (i64.const 0))))
  (local.set $time (i64.load $g offset=24 (local.get $s)))
  (if (i32.and (i32.load16_u $g offset=40 (local.get $s)) (i32.const 1))
   (then ;; absolute; 0 is the wall clock
    (if (i32.load $g offset=16 (local.get $s)) (then (return (local.get $time))))
    (if (i64.le_u (local.get $time) (i64.load $h (i32.const 32))) (then (return (i64.const 0))))
    (return (i64.add (i64.sub (local.get $time) (i64.load $h (i32.const 32))) (i64.load $h (i32.const 40))))))
  (local.set $time (i64.add (local.get $time) (local.get $since)))
  (select (i64.const -1) (local.get $time) (i64.lt_u (local.get $time) (local.get $since))))

 ;; A sleep ends the slice: the loop runs until the next tick, then the host sees the wish at 48 and comes back when it
 ;; is fulfilled. No host function is needed for it, and nothing blocks.
 (func (export "wasi_snapshot_preview1.poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
  (local $i i32) (local $s i32) (local $since i64) (local $first i64) (local $due i64) (local $ready i32)
  (if (i32.eqz (local.get $count)) (then (return (i32.const 28))))
  (local.set $since (i64.load $h (i32.const 40)))
  (loop $again
   (local.set $first (i64.const -1))
   (local.set $i (i32.const 0))
   (loop $look
    (local.set $due (call $due (i32.add (local.get $in) (i32.mul (local.get $i) (i32.const 48))) (local.get $since)))
    (if (i64.lt_u (local.get $due) (local.get $first)) (then (local.set $first (local.get $due))))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $look (i32.lt_u (local.get $i) (local.get $count))))
   (i64.store $h (i32.const 48) (local.get $first))
   (loop $sleep (br_if $sleep (i64.lt_u (i64.load $h (i32.const 40)) (local.get $first))))
   (i64.store $h (i32.const 48) (i64.const 0))
   (local.set $i (i32.const 0))
   (loop $report
    (local.set $s (i32.add (local.get $in) (i32.mul (local.get $i) (i32.const 48))))
    (if (i64.le_u (call $due (local.get $s) (local.get $since)) (i64.load $h (i32.const 40)))
     (then
      (i64.store $g (local.get $out) (i64.load $g (local.get $s)))
      (i64.store $g offset=8 (local.get $out) (i64.shl (i64.extend_i32_u (i32.load8_u $g offset=8 (local.get $s))) (i64.const 16)))
      (i64.store $g offset=16 (local.get $out) (i64.const 1))
      (i64.store $g offset=24 (local.get $out) (i64.const 0))
      (local.set $out (i32.add (local.get $out) (i32.const 32)))
      (local.set $ready (i32.add (local.get $ready) (i32.const 1)))))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $report (i32.lt_u (local.get $i) (local.get $count))))
   (br_if $again (i32.eqz (local.get $ready)))) ;; the wall clock was set back meanwhile
  (i32.store $g (local.get $events) (local.get $ready))
  (i32.const 0))

 ;; ------------------------------------------------------------------------------------------------------- randomness

 ;; ChaCha20, its state at 128 keyed by the host for each invocation ("random numbers in instances made from one
 ;; snapshot" repeat otherwise); the current block at 192.
 (func $quarter (param $a i32) (param $b i32) (param $c i32) (param $d i32)
  (i32.store $h (local.get $a) (i32.add (i32.load $h (local.get $a)) (i32.load $h (local.get $b))))
  (i32.store $h (local.get $d) (i32.rotl (i32.xor (i32.load $h (local.get $d)) (i32.load $h (local.get $a))) (i32.const 16)))
  (i32.store $h (local.get $c) (i32.add (i32.load $h (local.get $c)) (i32.load $h (local.get $d))))
  (i32.store $h (local.get $b) (i32.rotl (i32.xor (i32.load $h (local.get $b)) (i32.load $h (local.get $c))) (i32.const 12)))
  (i32.store $h (local.get $a) (i32.add (i32.load $h (local.get $a)) (i32.load $h (local.get $b))))
  (i32.store $h (local.get $d) (i32.rotl (i32.xor (i32.load $h (local.get $d)) (i32.load $h (local.get $a))) (i32.const 8)))
  (i32.store $h (local.get $c) (i32.add (i32.load $h (local.get $c)) (i32.load $h (local.get $d))))
  (i32.store $h (local.get $b) (i32.rotl (i32.xor (i32.load $h (local.get $b)) (i32.load $h (local.get $c))) (i32.const 7))))
 (func $block (local $i i32)
  (memory.copy $h $h (i32.const 192) (i32.const 128) (i32.const 64))
  (local.set $i (i32.const 10))
  (loop $round
   (call $quarter (i32.const 192) (i32.const 208) (i32.const 224) (i32.const 240))
   (call $quarter (i32.const 196) (i32.const 212) (i32.const 228) (i32.const 244))
   (call $quarter (i32.const 200) (i32.const 216) (i32.const 232) (i32.const 248))
   (call $quarter (i32.const 204) (i32.const 220) (i32.const 236) (i32.const 252))
   (call $quarter (i32.const 192) (i32.const 212) (i32.const 232) (i32.const 252))
   (call $quarter (i32.const 196) (i32.const 216) (i32.const 236) (i32.const 240))
   (call $quarter (i32.const 200) (i32.const 220) (i32.const 224) (i32.const 244))
   (call $quarter (i32.const 204) (i32.const 208) (i32.const 228) (i32.const 248))
   (local.set $i (i32.sub (local.get $i) (i32.const 1)))
   (br_if $round (local.get $i)))
  (loop $add
   (i32.store $h offset=192 (local.get $i) (i32.add (i32.load $h offset=192 (local.get $i)) (i32.load $h offset=128 (local.get $i))))
   (local.set $i (i32.add (local.get $i) (i32.const 4)))
   (br_if $add (i32.lt_u (local.get $i) (i32.const 64))))
  (i64.store $h (i32.const 176) (i64.add (i64.load $h (i32.const 176)) (i64.const 1)))
  (i32.store $h (i32.const 120) (i32.const 64)))
 (func (export "wasi_snapshot_preview1.random_get") (param $p i32) (param $n i32) (result i32) (local $part i32) (local $left i32)
  (call $check (local.get $p) (local.get $n))
  (block $done
   (loop $next
    (br_if $done (i32.eqz (local.get $n)))
    (if (i32.eqz (i32.load $h (i32.const 120))) (then (call $block)))
    (local.set $left (i32.load $h (i32.const 120)))
    (local.set $part (select (local.get $n) (local.get $left) (i32.lt_u (local.get $n) (local.get $left))))
    (memory.copy $g $h (local.get $p) (i32.sub (i32.const 256) (local.get $left)) (local.get $part))
    (i32.store $h (i32.const 120) (i32.sub (local.get $left) (local.get $part)))
    (local.set $p (i32.add (local.get $p) (local.get $part)))
    (local.set $n (i32.sub (local.get $n) (local.get $part)))
    (br $next)))
  (i32.const 0))

 ;; ---------------------------------------------------------------------------------------- the end, and descriptors

 (func (export "wasi_snapshot_preview1.proc_exit") (param $code i32)
  (i32.store $h (i32.const 60) (local.get $code))
  (i32.store $h (i32.const 56) (i32.const 1))
  (unreachable))

 ;; 0 for stdin, stdout and stderr, else EBADF: there are no others.
 (func $std (param $fd i32) (result i32)
  (select (i32.const 0) (i32.const 8) (i32.lt_u (local.get $fd) (i32.const 3))))
 ;; ESPIPE for them, else EBADF.
 (func $pipe (param $fd i32) (result i32)
  (select (i32.const 70) (i32.const 8) (i32.lt_u (local.get $fd) (i32.const 3))))
 ;; Lines come out at once only from a character device; a response is faster without.
 (func $type (param $fd i32) (result i32)
  (select (i32.const 2) (i32.const 0)
   (i32.or (i32.eq (local.get $fd) (i32.const 2))
    (i32.and (i32.eq (local.get $fd) (i32.const 1)) (i32.eqz (i32.load $h (i32.const 64)))))))
 (func (export "wasi_snapshot_preview1.fd_fdstat_get") (param $fd i32) (param $out i32) (result i32)
  (if (call $std (local.get $fd)) (then (return (i32.const 8))))
  (i64.store $g (local.get $out) (i64.extend_i32_u (call $type (local.get $fd))))
  (i64.store $g offset=8 (local.get $out) (select (i64.const 64) (i64.const 2) (local.get $fd))) ;; may write, may read
  (i64.store $g offset=16 (local.get $out) (i64.const 0))
  (i32.const 0))
 (func (export "wasi_snapshot_preview1.fd_filestat_get") (param $fd i32) (param $out i32) (result i32)
  (if (call $std (local.get $fd)) (then (return (i32.const 8))))
  (memory.fill $g (local.get $out) (i32.const 0) (i32.const 64))
  (i32.store8 $g offset=16 (local.get $out) (call $type (local.get $fd)))
  (i32.const 0))
 (func (export "wasi_snapshot_preview1.fd_close") (param $fd i32) (result i32) (call $std (local.get $fd)))
 (func (export "wasi_snapshot_preview1.fd_sync") (param $fd i32) (result i32) (call $std (local.get $fd)))
 (func (export "wasi_snapshot_preview1.fd_datasync") (param $fd i32) (result i32) (call $std (local.get $fd)))
 (func (export "wasi_snapshot_preview1.fd_fdstat_set_flags") (param $fd i32) (param i32) (result i32) (call $std (local.get $fd)))
 (func (export "wasi_snapshot_preview1.fd_seek") (param $fd i32) (param i64 i32 i32) (result i32) (call $pipe (local.get $fd)))
 (func (export "wasi_snapshot_preview1.fd_tell") (param $fd i32) (param i32) (result i32) (call $pipe (local.get $fd)))
 (func (export "wasi_snapshot_preview1.fd_pread") (param $fd i32) (param i32 i32 i64 i32) (result i32) (call $pipe (local.get $fd)))
 (func (export "wasi_snapshot_preview1.fd_pwrite") (param $fd i32) (param i32 i32 i64 i32) (result i32) (call $pipe (local.get $fd)))

 ;; No files: EBADF where a directory or file would be named, ENOSYS for the rest.
 (func (export "wasi_snapshot_preview1.fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.fd_allocate") (param i32 i64 i64) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.fd_renumber") (param i32 i32) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.path_create_directory") (param i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 8))
 (func (export "wasi_snapshot_preview1.proc_raise") (param i32) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.sock_accept") (param i32 i32 i32) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
 (func (export "wasi_snapshot_preview1.sock_shutdown") (param i32 i32) (result i32) (i32.const 52)))
