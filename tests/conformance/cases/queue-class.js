/*case {"desc": "a class as queue handler", "queue": {"name": "qq", "messages": [{"id": "a", "body": "1"}]}} */
import { WorkerEntrypoint } from 'cloudflare:workers';
export default class extends WorkerEntrypoint { queue(b){ console.log(arguments.length,b.queue); this.ctx.waitUntil(scheduler.wait(2)); b.messages[0].ack() } }
