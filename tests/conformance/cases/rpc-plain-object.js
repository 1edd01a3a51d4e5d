/*case {"desc": "a method of an object of handlers", "rpc": {"method": "m", "args": [1]}} */
export default { m(a){ return ['obj',a] } }
