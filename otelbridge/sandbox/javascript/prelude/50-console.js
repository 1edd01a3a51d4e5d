// console: the five levels that are recorded are native (worker.c); the others exist and do nothing, as in workerd.

const consoleSilent = [
  'assert', 'clear', 'count', 'countReset', 'dir', 'dirxml', 'group', 'groupCollapsed', 'groupEnd', 'table', 'time',
  'timeEnd', 'timeLog', 'timeStamp', 'trace', 'profile', 'profileEnd',
];
for (let i = 0; i < consoleSilent.length; i++) {
  const name = consoleSilent[i];
  native.console[name] = { [name]() {} }[name];
}
// As in workerd: "[object console]", an object of its own kind, which is not logged as JSON.
Object.setPrototypeOf(native.console, {});
Object.defineProperty(native.console, Symbol.toStringTag, { value: 'console', configurable: true });
Object.defineProperty(globalThis, 'console', { value: native.console, writable: true, configurable: true, enumerable: false });
