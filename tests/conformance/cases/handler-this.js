/*case {"desc": "this in a handler is its object"} */
export default { v: 5, fetch(){ return new Response(''+this.v) } }
