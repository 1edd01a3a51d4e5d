/*case {"desc": "a rejection in waitUntil() fails a batch", "queue": {"name": "qq", "messages": []}} */
export default { async queue(b,e,ctx){ ctx.waitUntil(Promise.reject(new Error('qw'))) } }
