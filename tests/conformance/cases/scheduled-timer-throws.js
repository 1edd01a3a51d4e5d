/*case {"desc": "an exception in a timer fails a scheduled event", "scheduled": {"cron": "x", "time": 5}, "tail_wait_ms": 100} */
export default { async scheduled(c,e,x){ setTimeout(()=>{throw new Error('t')},1); await scheduler.wait(8) } }
