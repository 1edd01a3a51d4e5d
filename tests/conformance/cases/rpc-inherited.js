/*case {"desc": "a method of a base class", "rpc": {"method": "m"}} */
import { WorkerEntrypoint } from 'cloudflare:workers';
class B extends WorkerEntrypoint { m(){return 'base'} };export default class extends B {}
