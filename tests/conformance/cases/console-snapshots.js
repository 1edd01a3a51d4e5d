/*case {"desc": "arguments are serialised at the call"} */
export default {fetch(){const o={n:1,l:[1]};console.log(o);o.n=2;o.l.push(2);console.log(o);delete o.n;console.log(o,o);let c=0;const x={toJSON(){return ++c}};console.log(x,x);console.log(c);const g={get a(){return ++c}};console.log(g);return new Response(''+c)}}
