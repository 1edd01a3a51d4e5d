/*case {"desc": "a handler that throws, with work in waitUntil()", "scheduled": {"cron": "x", "time": 5}, "tail_wait_ms": 100} */
export default { async scheduled(c,e,x){ x.waitUntil(scheduler.wait(5).then(()=>console.log('after'))); throw new Error('s') } }
