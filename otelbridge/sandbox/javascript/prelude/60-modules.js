// Modules: how a worker's sources are registered and loaded, and the built-in ones.

class WorkerEntrypoint {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}
class RpcTarget {}
class DurableObject {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

let workerEnv = {};
let mainExports; // the main module's namespace, once it is loaded

const builtinWorkers = {
  WorkerEntrypoint,
  RpcTarget,
  DurableObject,
  env: new Proxy({}, {
    get: (_, key) => workerEnv[key],
    has: (_, key) => key in workerEnv,
    ownKeys: () => Reflect.ownKeys(workerEnv),
    getOwnPropertyDescriptor: (_, key) => Reflect.getOwnPropertyDescriptor(workerEnv, key),
  }),
  waitUntil: (promise) => needInvocation().ctx.waitUntil(promise),
};

const commonJs = hostCreate(null);
function addModule(name, type, blob) {
  const bytes = blob === undefined ? new HostBytes(0) : new HostBytes(blob);
  switch (type) {
    case 'js':
      return native.addSource(name, bytes);
    case 'cjs': {
      const source = native.utf8Decode(bytes, false, false);
      commonJs[name] = hostRecord({ source, module: undefined });
      return native.addValue(name, { get default() { return requireModule(name, name); } });
    }
    case 'json':
      return addConstant(name, hostParse(native.utf8Decode(bytes, false, false)));
    case 'text':
      return addConstant(name, native.utf8Decode(bytes, false, false));
    default:
      return addConstant(name, bytes.buffer);
  }
}
const constants = hostCreate(null);
function addConstant(name, value) {
  constants[name] = hostRecord({ value });
  native.addValue(name, { default: value });
}

function resolveName(from, name) {
  if (hostIndexOf(name, './') !== 0 && hostIndexOf(name, '../') !== 0) return name;
  const path = hostSlice(from, 0, from.lastIndexOf('/') + 1) + name;
  const out = [];
  for (const part of path.split('/')) {
    if (part === '..') out.pop();
    else if (part !== '.') out.push(part);
  }
  return out.join('/');
}
function requireModule(from, name) {
  const full = resolveName(from, name);
  if (constants[full]) return constants[full].value;
  const found = commonJs[full];
  if (!found) throw new Error(`No such module "${full}".\n  required from "${from}"`);
  if (!found.module) {
    const module = (found.module = { exports: {} });
    const body = native.compileFunction('(function (exports, require, module, __filename, __dirname) {' + found.source + '\n})', full);
    body.call(module.exports, module.exports, (other) => requireModule(full, other), module, full, hostSlice(full, 0, full.lastIndexOf('/') + 1));
  }
  return found.module.exports;
}

/** Evaluate the main module; answers "loaded" or "failed". */
function load(main, env) {
  workerEnv = env;
  let promise;
  try {
    promise = native.loadMain(main);
  } catch (e) {
    return loadFailed(e);
  }
  hostAfter(promise, loaded, loadFailed);
}
function loaded(namespace) {
  const keys = valueKeys(namespace);
  for (let i = 0; i < keys.length; i++) {
    const value = namespace[keys[i]];
    if (typeof value !== 'function' && (typeof value !== 'object' || value === null)) {
      return loadFailed(new TypeError(`Incorrect type for map entry '${keys[i]}': the provided value is not of type 'function or ExportedHandler'.`));
    }
  }
  mainExports = namespace;
  moduleScope = false;
  hostSend(hostSetPrototypeOf(['loaded', hostSetPrototypeOf(keys, null), answersFetch(namespace)], null));
}
/** Whether requests have a handler: of the default export, or of its class. No getter is asked; what throws may have one. */
function answersFetch(namespace) {
  if (!hostHas(namespace, 'default')) return false;
  const main = namespace.default;
  try {
    const members = typeof main === 'function' ? main.prototype : main;
    return typeof members === 'object' && members !== null && 'fetch' in members;
  } catch {
    return true;
  }
}
function loadFailed(e) {
  const thrown = reportException(e, true);
  hostSend(hostList('failed', thrown.name, thrown.whole, thrown.stack === undefined ? null : thrown.stack));
}
