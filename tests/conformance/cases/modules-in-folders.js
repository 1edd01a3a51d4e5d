/*case {"desc": "relative imports between folders", "modules": {"lib/a.js": "import b from '../b.js';import c from './c.js';export default 'a'+b+c", "b.js": "export default 'b'", "lib/c.js": "export default 'c'"}} */
import a from './lib/a.js';export default {fetch(){return new Response(a)}}
