// Fails in instructive ways: /throw, /warn, /loop (stopped at 50 ms of CPU time).
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    console.log('called', pathname);
    if (pathname === '/throw') throw new TypeError('this worker throws when asked to');
    if (pathname === '/loop') for (;;);
    console.warn('nothing wrong here', { path: pathname });
    return new Response('fine\n');
  },
};
