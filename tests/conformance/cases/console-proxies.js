/*case {"desc": "proxies of every kind, revoked ones too"} */
export default { async fetch(request, env, ctx) {
try { console.log(new Proxy({a:1},{})); } catch (e) { console.log('THREW 0', e.name); }
try { console.log(new Proxy([1],{})); } catch (e) { console.log('THREW 1', e.name); }
try { console.log(new Proxy(new Map,{})); } catch (e) { console.log('THREW 2', e.name); }
try { console.log(new Proxy(new Date(0),{})); } catch (e) { console.log('THREW 3', e.name); }
try { console.log(new Proxy({},{get(){throw 1}})); } catch (e) { console.log('THREW 4', e.name); }
try { console.log(new Proxy({},{ownKeys(){throw 1}})); } catch (e) { console.log('THREW 5', e.name); }
try { console.log(new Proxy({a:1},{getPrototypeOf(){return Map.prototype}})); } catch (e) { console.log('THREW 6', e.name); }
try { console.log(new Proxy({a:1},{getPrototypeOf(){throw 1}})); } catch (e) { console.log('THREW 7', e.name); }
try { console.log(new Proxy({},{ownKeys(){return ['x']},getOwnPropertyDescriptor(){return {value:9,enumerable:true,configurable:true}},get(){return 9}})); } catch (e) { console.log('THREW 8', e.name); }
try { console.log(new Proxy(new (class A{}),{})); } catch (e) { console.log('THREW 9', e.name); }
try { console.log(new Proxy(class{}, {})); } catch (e) { console.log('THREW 10', e.name); }
try { console.log((()=>{const r=Proxy.revocable({},{});r.revoke();return r.proxy})()); } catch (e) { console.log('THREW 11', e.name); }
try { console.log((()=>{const r=Proxy.revocable([],{});r.revoke();return r.proxy})()); } catch (e) { console.log('THREW 12', e.name); }
try { console.log([(()=>{const r=Proxy.revocable({},{});r.revoke();return r.proxy})()]); } catch (e) { console.log('THREW 13', e.name); }
try { console.log(new Proxy(new Proxy({a:1},{}),{})); } catch (e) { console.log('THREW 14', e.name); }
try { console.log(new Proxy(Object.create(null),{})); } catch (e) { console.log('THREW 15', e.name); }
return new Response('ok');
} };
