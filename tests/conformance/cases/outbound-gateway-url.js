/*case {"desc": "the URL of a gateway's response", "globalOutbound": "gateway"} */
export default { async fetch(request, env, ctx) {
const r=await fetch('http://x/y?z=1',{method:'POST',body:'b',headers:{a:'1'}});return new Response(await r.text()+r.status+r.url)
} };
