/*case {"desc": "what nested members become, getters, symbols, prototypes, key order"} */
export default { async fetch(request, env, ctx) {
try { console.log({a:{b:{c:[1,[2,[3]]]}}}); } catch (e) { console.log('THREW 0', e.name); }
try { console.log({m:new Map([[1,2]]),s:new Set([1]),r:/x/,d:new Date(5),e:new Error('x'),p:Promise.resolve(),f(){},sym:Symbol(),u:undefined,n:null,b:new Boolean(false),num:new Number(3),str:new String('s')}); } catch (e) { console.log('THREW 1', e.name); }
try { console.log([new Map,new Set,/x/,new Date(NaN),new Error('m'),()=>1,Symbol('a'),undefined]); } catch (e) { console.log('THREW 2', e.name); }
try { console.log({t:new Uint8Array([1,2]),f:new Float64Array([1.5]),ab:new ArrayBuffer(2),dv:new DataView(new ArrayBuffer(1))}); } catch (e) { console.log('THREW 3', e.name); }
try { console.log({big:1n}); } catch (e) { console.log('THREW 4', e.name); }
try { console.log([1n]); } catch (e) { console.log('THREW 5', e.name); }
try { console.log({a:{toJSON(){return 'J'}}}); } catch (e) { console.log('THREW 6', e.name); }
try { console.log({a:{toJSON(k){return k}}}); } catch (e) { console.log('THREW 7', e.name); }
try { console.log([{toJSON(k){return typeof k+k}}]); } catch (e) { console.log('THREW 8', e.name); }
try { console.log({toJSON(k){return 'top:'+typeof k+k}}); } catch (e) { console.log('THREW 9', e.name); }
try { console.log({u:new URL('http://a/b')}); } catch (e) { console.log('THREW 10', e.name); }
try { console.log({h:new Headers({a:'1'})}); } catch (e) { console.log('THREW 11', e.name); }
try { console.log({r:new Response('x')}); } catch (e) { console.log('THREW 12', e.name); }
try { console.log({get a(){return 7}}); } catch (e) { console.log('THREW 13', e.name); }
try { console.log(Object.defineProperty({},'h',{value:1})); } catch (e) { console.log('THREW 14', e.name); }
try { console.log({[Symbol('s')]:1,b:2}); } catch (e) { console.log('THREW 15', e.name); }
try { console.log({__proto__:{inherited:1},own:2}); } catch (e) { console.log('THREW 16', e.name); }
try { console.log({2:'b',1:'a',z:0}); } catch (e) { console.log('THREW 17', e.name); }
try { console.log(Object.create({a:1})); } catch (e) { console.log('THREW 18', e.name); }
try { console.log(Object.create(null)); } catch (e) { console.log('THREW 19', e.name); }
try { console.log(Object.assign(Object.create(null),{x:1})); } catch (e) { console.log('THREW 20', e.name); }
try { console.log(Object.freeze({a:1})); } catch (e) { console.log('THREW 21', e.name); }
return new Response('ok');
} };
