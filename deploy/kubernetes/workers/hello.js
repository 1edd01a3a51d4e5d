// Every call leaves a log line with fields, at three levels.
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    console.log({ event: 'request', method: request.method, path: pathname });
    console.info('hello from', pathname);
    ctx.waitUntil(
      new Promise((done) => setTimeout(done, 20)).then(() => console.debug('after the response')),
    );
    return new Response(`Hello from ${pathname}\n`);
  },
};
