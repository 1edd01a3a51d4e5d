/*case {"desc": "what toJSON may return, and where it may sit"} */
export default { async fetch(request, env, ctx) {
try { console.log({toJSON(){return undefined}}); } catch (e) { console.log('THREW 0', e.name); }
try { console.log({toJSON(){return ()=>1}}); } catch (e) { console.log('THREW 1', e.name); }
try { console.log({toJSON(){return 1n}}); } catch (e) { console.log('THREW 2', e.name); }
try { console.log({toJSON(){return NaN}}); } catch (e) { console.log('THREW 3', e.name); }
try { console.log({toJSON(){return {a:[1]}}}); } catch (e) { console.log('THREW 4', e.name); }
try { console.log({toJSON:5,a:1}); } catch (e) { console.log('THREW 5', e.name); }
try { console.log({toJSON:null}); } catch (e) { console.log('THREW 6', e.name); }
try { console.log(new (class A{toJSON(){return 'A!'}})); } catch (e) { console.log('THREW 7', e.name); }
try { console.log(new (class A{constructor(){this.toJSON=()=>'own'}})); } catch (e) { console.log('THREW 8', e.name); }
try { console.log(Object.assign(()=>1,{toJSON(){return 'fn'}})); } catch (e) { console.log('THREW 9', e.name); }
try { console.log(Object.assign([1,2],{toJSON(){return 'arr'}})); } catch (e) { console.log('THREW 10', e.name); }
try { console.log(Object.assign(new Map,{toJSON(){return {m:1}}})); } catch (e) { console.log('THREW 11', e.name); }
try { console.log(Object.assign(new Error('e'),{toJSON(){return {err:1}}})); } catch (e) { console.log('THREW 12', e.name); }
try { console.log(Object.assign(Promise.resolve(1),{toJSON(){return 'P'}})); } catch (e) { console.log('THREW 13', e.name); }
try { console.log(new Proxy({},{get(t,k){return k==='toJSON'?()=>'proxied':1}})); } catch (e) { console.log('THREW 14', e.name); }
try { console.log({toJSON(){return Symbol()}}); } catch (e) { console.log('THREW 15', e.name); }
try { console.log({toJSON(){return this}}); } catch (e) { console.log('THREW 16', e.name); }
try { console.log({toJSON(){return new Date(0)}}); } catch (e) { console.log('THREW 17', e.name); }
try { console.log({toJSON(){return {toJSON(){return 'twice'}}}}); } catch (e) { console.log('THREW 18', e.name); }
try { console.log(new String('x')); } catch (e) { console.log('THREW 19', e.name); }
try { console.log(Object.assign(new String('x'),{toJSON(){return 's!'}})); } catch (e) { console.log('THREW 20', e.name); }
try { console.log({toJSON: async()=>1}); } catch (e) { console.log('THREW 21', e.name); }
return new Response('ok');
} };
