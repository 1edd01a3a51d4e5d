/*case {"desc": "a rejection in waitUntil() fails a scheduled event", "scheduled": {"cron": "x", "time": 1700000000000}} */
export default { scheduled(c,e,ctx){ ctx.waitUntil(Promise.reject(new Error('w'))) } }
