/*case {"desc": "an import that begins with a slash", "modules": {"a.js": "export default 'abs'"}} */
import a from '/a.js';export default {fetch(){return new Response(a)}}
