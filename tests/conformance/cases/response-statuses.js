/*case {"desc": "statuses a worker may answer with", "requests": [{"path": "/200"}, {"path": "/201"}, {"path": "/299"}, {"path": "/301"}, {"path": "/400"}, {"path": "/404"}, {"path": "/418"}, {"path": "/500"}, {"path": "/503"}, {"path": "/599"}], "tail_wait_ms": 100} */
export default { async fetch(request, env, ctx) {
return new Response('b',{status:+new URL(request.url).pathname.slice(1),headers:{'x-a':'1'}})
} };
