// The rest of the global scope, and what does not belong there.

class Performance {
  constructor(token) {
    if (token !== internal) throw new TypeError('Illegal constructor');
  }
  // As in workerd: the origin is 0, and now() is the wall clock with a fraction.
  get timeOrigin() { return 0; }
  now() { return native.now(); }
}
expose(Performance);
hidden(globalThis, 'performance', new Performance(internal));

class Navigator {
  constructor(token) {
    if (token !== internal) throw new TypeError('Illegal constructor');
  }
  get userAgent() { return 'Cloudflare-Workers'; }
  get language() { return 'en'; }
  get languages() { return ['en']; }
  get hardwareConcurrency() { return 1; }
}
expose(Navigator);
hidden(globalThis, 'navigator', new Navigator(internal));

expose(urlPattern.URLPattern, 'URLPattern');
class WorkerGlobalScope extends EventTarget {
  constructor() {
    throw new TypeError('Illegal constructor');
  }
}
class ServiceWorkerGlobalScope extends WorkerGlobalScope {}
expose(WorkerGlobalScope);
expose(ServiceWorkerGlobalScope);
Object.setPrototypeOf(globalThis, ServiceWorkerGlobalScope.prototype);
hidden(globalThis, 'self', globalThis);
for (const name of ['gc', 'print', 'scriptArgs', 'std', 'os', 'bjson', 'process', 'Buffer', 'require']) delete globalThis[name];
