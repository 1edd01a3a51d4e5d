/*case {"desc": "waitUntil() of a promise that nobody settles"} */
export default { async fetch(request, env, ctx) {
ctx.waitUntil(new Promise(()=>{}));return new Response('ok')
} };
