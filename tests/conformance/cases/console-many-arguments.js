/*case {"desc": "none, several and like arguments"} */
export default { async fetch(request, env, ctx) {
try { console.log(); } catch (e) { console.log('THREW 0', e.name); }
try { console.log(1,2,3); } catch (e) { console.log('THREW 1', e.name); }
try { console.log('%s %d','a',1); } catch (e) { console.log('THREW 2', e.name); }
try { console.log('%o',{a:1}); } catch (e) { console.log('THREW 3', e.name); }
try { console.log(...new Array(20).fill('x')); } catch (e) { console.log('THREW 4', e.name); }
try { console.log(undefined,undefined); } catch (e) { console.log('THREW 5', e.name); }
try { console.log('',''); } catch (e) { console.log('THREW 6', e.name); }
try { console.log('%c css','color:red'); } catch (e) { console.log('THREW 7', e.name); }
try { console.log({a:1},[1],'s',1,null); } catch (e) { console.log('THREW 8', e.name); }
return new Response('ok');
} };
