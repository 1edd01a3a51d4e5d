/*case {"desc": "waitUntil() in a method rejects: the outcome is ok", "rpc": {"method": "m"}, "tail_wait_ms": 200} */
import { WorkerEntrypoint } from 'cloudflare:workers';
export default class extends WorkerEntrypoint { m(){ this.ctx.waitUntil(Promise.reject(new Error('w'))); return 1 } }
