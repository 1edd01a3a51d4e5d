/*case {"desc": "numbers, holes and other primitives as arguments"} */
export default { async fetch(request, env, ctx) {
try { console.log(''); } catch (e) { console.log('THREW 0', e.name); }
try { console.log('a'); } catch (e) { console.log('THREW 1', e.name); }
try { console.log(1e21); } catch (e) { console.log('THREW 2', e.name); }
try { console.log(1e-7); } catch (e) { console.log('THREW 3', e.name); }
try { console.log(123456789012345680000); } catch (e) { console.log('THREW 4', e.name); }
try { console.log(-0); } catch (e) { console.log('THREW 5', e.name); }
try { console.log([-0]); } catch (e) { console.log('THREW 6', e.name); }
try { console.log(0.1+0.2); } catch (e) { console.log('THREW 7', e.name); }
try { console.log(2**53+1); } catch (e) { console.log('THREW 8', e.name); }
try { console.log(-(2**53)); } catch (e) { console.log('THREW 9', e.name); }
try { console.log(Number.MAX_VALUE); } catch (e) { console.log('THREW 10', e.name); }
try { console.log(Number.MIN_VALUE); } catch (e) { console.log('THREW 11', e.name); }
try { console.log(5e-324); } catch (e) { console.log('THREW 12', e.name); }
try { console.log(1/3); } catch (e) { console.log('THREW 13', e.name); }
try { console.log([NaN,Infinity,-0]); } catch (e) { console.log('THREW 14', e.name); }
try { console.log(10n**30n); } catch (e) { console.log('THREW 15', e.name); }
try { console.log(-5n); } catch (e) { console.log('THREW 16', e.name); }
try { console.log(Symbol.iterator); } catch (e) { console.log('THREW 17', e.name); }
try { console.log(Symbol('x')); } catch (e) { console.log('THREW 18', e.name); }
try { console.log(undefined); } catch (e) { console.log('THREW 19', e.name); }
try { console.log(null); } catch (e) { console.log('THREW 20', e.name); }
try { console.log(true); } catch (e) { console.log('THREW 21', e.name); }
try { console.log([undefined,null]); } catch (e) { console.log('THREW 22', e.name); }
try { console.log({a:undefined}); } catch (e) { console.log('THREW 23', e.name); }
try { console.log([,1,,2]); } catch (e) { console.log('THREW 24', e.name); }
try { console.log(new Array(3)); } catch (e) { console.log('THREW 25', e.name); }
return new Response('ok');
} };
