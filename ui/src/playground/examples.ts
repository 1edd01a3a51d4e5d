// What the playground offers to begin with: each example teaches one thing.
import helloWasm from './hello.wasm';
import helloWat from './hello.wat';
import { withSource, type Program } from './program';

export interface Example {
  id: string;
  name: string;
  teaches: string;
  program: Program;
}

const js = (lines: string, rest: Partial<Program> = {}): Program => withSource(`${lines.trim()}\n`, rest);

export const EXAMPLES: Example[] = [
  {
    id: 'logging',
    name: 'Logging',
    teaches: 'Five levels, and objects whose members become fields you can search.',
    program: js(`
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    console.log('called', pathname);
    console.info({ event: 'checkout', user_id: 42, total: 99.5 }); // search it: user_id=42
    console.warn('stock is low', { item: 'tea', left: 3 });
    console.error(new Error('shown with its stack, but not thrown'));
    console.debug('done');
    return Response.json({ hello: pathname });
  },
};`),
  },
  {
    id: 'live',
    name: 'Live logs',
    teaches: 'Lines appear while the worker still runs.',
    program: js(`
export default {
  async fetch() {
    for (let step = 1; step <= 5; step++) {
      console.log('step', step, 'of 5');
      await scheduler.wait(500);
    }
    return new Response('all steps done\\n');
  },
};`),
  },
  {
    id: 'errors',
    name: 'Errors',
    teaches: 'What is thrown is recorded with its stack: click a position to see the line.',
    program: js(
      `
import { priceOf } from './prices.js';

export default {
  async fetch(request) {
    const item = new URL(request.url).searchParams.get('item');
    console.log('looking for', item);
    return Response.json({ item, price: priceOf(item) });
  },
};`,
      {
        files: [
          {
            name: 'prices.js',
            text: `const prices = { tea: { amount: 3.2 } };

export function priceOf(item) {
  return prices[item].amount; // there is no coffee
}
`,
          },
        ],
        request: { method: 'GET', path: '/price?item=coffee', headers: '', body: '' },
      },
    ),
  },
  {
    id: 'subrequests',
    name: 'Subrequests',
    teaches: 'Every fetch() is a span of its own. Private addresses are refused unless the operator allows them.',
    program: js(`
export default {
  async fetch() {
    for (const url of ['https://example.com/', 'http://127.0.0.1:1/']) {
      try {
        const response = await fetch(url);
        console.log(url, response.status);
      } catch (error) {
        console.warn(url, error.message);
      }
    }
    return new Response('see the waterfall of this invocation\\n');
  },
};`),
  },
  {
    id: 'wait-until',
    name: 'waitUntil',
    teaches: 'Work after the response is part of the invocation, and so are its logs.',
    program: js(`
export default {
  async fetch(request, env, ctx) {
    ctx.waitUntil(audit());
    console.log('the response leaves now');
    return new Response('sent\\n');
  },
};

async function audit() {
  await scheduler.wait(800);
  console.log({ event: 'audit', written: true });
}`),
  },
  {
    id: 'env',
    name: 'Settings (env)',
    teaches: 'worker.json holds env, limits and the network policy of the worker.',
    program: js(
      `
export default {
  async fetch(request, env) {
    console.log('greeting in', env.LANGUAGE);
    return new Response(env.GREETINGS[env.LANGUAGE] + '\\n');
  },
};`,
      { settings: `${JSON.stringify({ env: { LANGUAGE: 'fr', GREETINGS: { en: 'Hello', fr: 'Bonjour' } }, globalOutbound: null }, null, 2)}\n` },
    ),
  },
  {
    id: 'limits',
    name: 'A limit hit',
    teaches: 'A loop without end is stopped at 50 ms of CPU time. What it logged before is kept.',
    program: js(
      `
export default {
  async fetch() {
    console.log('this line survives');
    for (let i = 0; ; i++) {
      if (i % 1_000_000 === 0) console.debug('still looping', i);
    }
  },
};`,
      { settings: `${JSON.stringify({ limits: { cpuMs: 50, memoryMb: 32 } }, null, 2)}\n` },
    ),
  },
  {
    id: 'spans',
    name: 'Your own spans',
    teaches: 'enterSpan() measures a part of the work; lines logged inside belong to it.',
    program: js(`
import { tracing } from 'cloudflare:workers';

export default {
  async fetch() {
    const rows = await tracing.enterSpan('load', async (span) => {
      span.setAttribute('table', 'orders');
      await scheduler.wait(60);
      console.log('loaded');
      return [3, 1, 2];
    });
    const sorted = tracing.enterSpan('sort', () => rows.sort());
    return Response.json(sorted);
  },
};`),
  },
  {
    id: 'request',
    name: 'Reading a request',
    teaches: 'Method, headers and body are yours to set below the editor.',
    program: js(
      `
export default {
  async fetch(request) {
    const order = await request.json();
    console.log('order by', request.headers.get('x-user'), order);
    const total = order.items.reduce((sum, item) => sum + item.price * item.count, 0);
    return Response.json({ total }, { status: 201, headers: { 'x-total': String(total) } });
  },
};`,
      {
        request: {
          method: 'POST',
          path: '/orders',
          headers: 'content-type: application/json\nx-user: u-42',
          body: JSON.stringify({ items: [{ name: 'tea', price: 3.2, count: 2 }, { name: 'cake', price: 4.5, count: 1 }] }, null, 2),
        },
      },
    ),
  },
  {
    id: 'wasm',
    name: 'A WebAssembly guest',
    teaches: 'Any language that compiles to WebAssembly; hello.wat is the text of this module.',
    program: {
      main: 'hello.wasm',
      files: [
        { name: 'hello.wasm', base64: helloWasm },
        { name: 'hello.wat', text: helloWat, note: true },
      ],
      settings: '{}\n',
      request: { method: 'GET', path: '/', headers: '', body: '' },
    },
  },
];
