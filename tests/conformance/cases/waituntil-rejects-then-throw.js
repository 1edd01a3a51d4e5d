/*case {"desc": "a rejection in waitUntil() and one that leaves the handler", "requests": [{"path": "/waitthenthrow"}], "tail_wait_ms": 60} */
export default { async fetch(request, env, ctx) {

const u=new URL(request.url).pathname;
if(u=='/timer'){setTimeout(()=>{throw new Error('t')},1);await scheduler.wait(20)}
if(u=='/timer2'){setTimeout(()=>{throw new Error('a')},1);setTimeout(()=>{throw new TypeError('b')},2);await scheduler.wait(20)}
if(u=='/interval'){let n=0;const i=setInterval(()=>{if(++n==3)clearInterval(i);throw new Error('i'+n)},1);await scheduler.wait(40)}
if(u=='/micro'){queueMicrotask(()=>{throw new Error('m')});await 0}
if(u=='/floating'){Promise.reject(new Error('fl'));await scheduler.wait(5)}
if(u=='/wait'){ctx.waitUntil(Promise.reject(new Error('w')))}
if(u=='/waitval'){ctx.waitUntil(Promise.reject('str'))}
if(u=='/waitlate'){ctx.waitUntil((async()=>{await scheduler.wait(5);throw new TypeError('wl')})())}
if(u=='/waittwo'){ctx.waitUntil(Promise.reject(new Error('1')));ctx.waitUntil(Promise.reject(new Error('2')))}
if(u=='/waitthenthrow'){ctx.waitUntil(Promise.reject(new Error('w')));throw new Error('h')}
if(u=='/waitnonpromise'){ctx.waitUntil(5);ctx.waitUntil(undefined)}
if(u=='/waitthrowlater'){ctx.waitUntil(new Promise(r=>setTimeout(()=>{r();throw new Error('inTimer')},3)))}
if(u=='/event'){const t=new EventTarget();t.addEventListener('x',()=>{throw new Error('ev')});t.dispatchEvent(new Event('x'))}
if(u=='/abort'){const c=new AbortController();c.signal.onabort=()=>{throw new Error('ab')};c.abort()}
if(u=='/stream'){return new Response(new ReadableStream({start(c){c.error(new Error('st'))}}))}
if(u=='/stream2'){let n=0;return new Response(new ReadableStream({pull(c){if(n++)throw new Error('pl');c.enqueue(new TextEncoder().encode('a'))}}))}
if(u=='/stream3'){return new Response(new ReadableStream({pull(c){c.enqueue('notbytes')}}))}
if(u=='/stream4'){return new Response(new ReadableStream({async pull(c){await scheduler.wait(3);c.error('strerr')}}))}
if(u=='/reportError'){reportError(new Error('re'))}
if(u=='/getter'){return {get status(){throw 1}}}
if(u=='/thenable'){return {then(r,j){j(new Error('th'))}}}
if(u=='/finally'){try{throw new Error('first')}finally{throw new Error('second')}}
if(u=='/null'){return null}
if(u=='/promise'){return new Promise((_,j)=>j(undefined))}
if(u=='/rejectlater'){return new Promise((_,j)=>setTimeout(()=>j(new Error('rl')),2))}
if(u=='/logthrow'){console.error(new Error('logged'));throw new Error('thrown')}
if(u=='/toomany'){for(let i=0;i<5;i++)ctx.waitUntil(Promise.reject(new Error('e'+i)))}
if(u=='/unhandledListener'){addEventListener('unhandledrejection',e=>console.log('uh',e.reason.message));Promise.reject(new Error('q'));await scheduler.wait(3)}
if(u=='/gen'){for await(const x of (async function*(){yield 1;throw new Error('gen')})());}
if(u=='/respbodyused'){const r=new Response('x');await r.text();return r}
if(u=='/transform'){const t=new TransformStream({transform(){throw new Error('tr')}});const w=t.writable.getWriter();w.write(new Uint8Array(1)).catch(()=>{});return new Response(t.readable)}
return new Response('ok')
} };
