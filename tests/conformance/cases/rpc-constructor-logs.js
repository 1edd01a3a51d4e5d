/*case {"desc": "the constructor has ctx and env", "rpc": {"method": "m"}, "env": {"A": "a!"}} */
import { WorkerEntrypoint } from 'cloudflare:workers';
export default class extends WorkerEntrypoint { constructor(c,e){super(c,e);console.log('ctor',typeof this.ctx.waitUntil,this.env.A)} m(){return this.env.A} }
