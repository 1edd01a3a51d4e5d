/*case {"desc": "a class's fetch() gets env and ctx too", "env": {"G": "g"}, "props": {"q": 1}} */
import { WorkerEntrypoint } from 'cloudflare:workers';
export default class extends WorkerEntrypoint { async fetch(r){ console.log(arguments.length); return new Response(this.env.G+JSON.stringify(this.ctx.props)) } }
