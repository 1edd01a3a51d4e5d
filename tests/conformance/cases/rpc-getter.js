/*case {"desc": "a method behind a getter of the class", "rpc": {"method": "g", "args": [1]}} */
import { WorkerEntrypoint } from 'cloudflare:workers';
export default class extends WorkerEntrypoint { get g(){ return (x)=>x+1 } }
