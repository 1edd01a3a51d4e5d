/*case {"desc": "errors with changed, missing and throwing members"} */
export default { async fetch(request, env, ctx) {
try { console.log(new Error('m')); } catch (e) { console.log('THREW 0', e.name); }
try { console.log(new Error('')); } catch (e) { console.log('THREW 1', e.name); }
try { console.log(new Error()); } catch (e) { console.log('THREW 2', e.name); }
try { console.log(new TypeError('t')); } catch (e) { console.log('THREW 3', e.name); }
try { console.log(Object.assign(new Error('x'),{code:5})); } catch (e) { console.log('THREW 4', e.name); }
try { console.log(new Error('c',{cause:new Error('in')})); } catch (e) { console.log('THREW 5', e.name); }
try { console.log(new AggregateError([new Error('a')],'agg')); } catch (e) { console.log('THREW 6', e.name); }
try { console.log(new AggregateError([])); } catch (e) { console.log('THREW 7', e.name); }
try { console.log(Object.assign(new Error('n'),{name:'Named'})); } catch (e) { console.log('THREW 8', e.name); }
try { console.log(Object.assign(new Error('n'),{name:''})); } catch (e) { console.log('THREW 9', e.name); }
try { console.log(Object.assign(new Error('n'),{name:undefined})); } catch (e) { console.log('THREW 10', e.name); }
try { console.log(Object.assign(new Error('n'),{name:5})); } catch (e) { console.log('THREW 11', e.name); }
try { console.log(Object.assign(new Error('n'),{message:''})); } catch (e) { console.log('THREW 12', e.name); }
try { console.log(Object.assign(new Error('n'),{message:7})); } catch (e) { console.log('THREW 13', e.name); }
try { console.log(Object.assign(new Error('n'),{message:undefined})); } catch (e) { console.log('THREW 14', e.name); }
try { console.log(Object.assign(new Error('n'),{stack:undefined})); } catch (e) { console.log('THREW 15', e.name); }
try { console.log(Object.assign(new Error('n'),{stack:'custom stack'})); } catch (e) { console.log('THREW 16', e.name); }
try { console.log(Object.assign(new Error('n'),{stack:5})); } catch (e) { console.log('THREW 17', e.name); }
try { console.log(Object.assign(new Error('n'),{stack:''})); } catch (e) { console.log('THREW 18', e.name); }
try { console.log(Object.defineProperty(new Error('n'),'name',{get(){throw 1}})); } catch (e) { console.log('THREW 19', e.name); }
try { console.log(Object.defineProperty(new Error('n'),'message',{get(){throw 1}})); } catch (e) { console.log('THREW 20', e.name); }
try { console.log(Object.defineProperty(new Error('n'),'stack',{get(){throw 1}})); } catch (e) { console.log('THREW 21', e.name); }
try { console.log(Object.assign(new Error('n'),{toString(){return 'TS'}})); } catch (e) { console.log('THREW 22', e.name); }
try { console.log(Object.assign(new Error('n'),{toString(){throw 1}})); } catch (e) { console.log('THREW 23', e.name); }
try { console.log(Object.assign(new Error('n'),{name:Symbol('x')})); } catch (e) { console.log('THREW 24', e.name); }
try { console.log(Object.assign(new Error('n'),{message:Symbol('x')})); } catch (e) { console.log('THREW 25', e.name); }
try { console.log(new DOMException('d')); } catch (e) { console.log('THREW 26', e.name); }
try { console.log(new DOMException('d','AbortError')); } catch (e) { console.log('THREW 27', e.name); }
try { console.log(Object.create(Error.prototype)); } catch (e) { console.log('THREW 28', e.name); }
try { console.log({name:'E',message:'m',stack:'s'}); } catch (e) { console.log('THREW 29', e.name); }
try { console.log([new Error('in array')]); } catch (e) { console.log('THREW 30', e.name); }
try { console.log({e:new Error('in obj')}); } catch (e) { console.log('THREW 31', e.name); }
try { console.log('a',new Error('1'),'b',new TypeError('2'),null); } catch (e) { console.log('THREW 32', e.name); }
try { console.log(new Error('multi\nline')); } catch (e) { console.log('THREW 33', e.name); }
try { console.log(new Error({toString(){return 'objmsg'}})); } catch (e) { console.log('THREW 34', e.name); }
try { console.log(Object.freeze(new Error('fr'))); } catch (e) { console.log('THREW 35', e.name); }
try { console.log(new Proxy(new Error('px'),{})); } catch (e) { console.log('THREW 36', e.name); }
try { console.log(Error('nonew')); } catch (e) { console.log('THREW 37', e.name); }
try { console.log(new (class extends DOMException{})('z','DataError')); } catch (e) { console.log('THREW 38', e.name); }
try { console.log(structuredClone(new TypeError('sc'))); } catch (e) { console.log('THREW 39', e.name); }
try { console.log(Object.assign(new Error('cause'),{cause:5})); } catch (e) { console.log('THREW 40', e.name); }
return new Response('ok');
} };
