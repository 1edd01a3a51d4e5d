/*case {"desc": "a handler behind a getter"} */
export default { get fetch(){ return ()=>new Response('got') } }
