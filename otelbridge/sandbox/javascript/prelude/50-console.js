// console: the five levels that are recorded are native (worker.c); the others exist and do nothing, as in workerd.

const consoleSilent = [
  'assert', 'clear', 'count', 'countReset', 'dir', 'dirxml', 'group', 'groupCollapsed', 'groupEnd', 'table', 'time',
  'timeEnd', 'timeLog', 'timeStamp', 'trace', 'profile', 'profileEnd',
];
for (let i = 0; i < consoleSilent.length; i++) {
  const name = consoleSilent[i];
  native.console[name] = { [name]() {} }[name];
}
Object.defineProperty(globalThis, 'console', { value: native.console, writable: true, configurable: true, enumerable: false });
