/*case {"desc": "re-exported default and named entrypoints", "modules": {"b.js": "export const q={fetch(){return new Response('q')}};export default {fetch(){return new Response('star')}}"}, "entrypoint": "q"} */
export * from './b.js';export {default} from './b.js'
