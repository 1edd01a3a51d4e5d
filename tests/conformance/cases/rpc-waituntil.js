/*case {"desc": "waitUntil() in a method", "rpc": {"method": "m"}, "tail_wait_ms": 200} */
import { WorkerEntrypoint } from 'cloudflare:workers';
export default class extends WorkerEntrypoint { m(){ this.ctx.waitUntil((async()=>{await scheduler.wait(5);console.log('later')})()); return 1 } }
