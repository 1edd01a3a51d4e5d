/*case {"desc": "a method of a named object of handlers", "rpc": {"method": "m", "args": [1]}, "entrypoint": "N"} */
export const N = { m(a){ return 'named'+a } };export default {}
