// A program in the playground: files, settings and the request it is run with; its form in the API and in an address.

export interface File_ {
  name: string;
  /** Text, or bytes of a wasm module. */
  text?: string;
  base64?: string;
  /** Only to be read: it is not sent. */
  note?: boolean;
}

export interface Program {
  main: string;
  files: File_[];
  /** JSON: members of WorkerCode beside mainModule and modules. */
  settings: string;
  request: { method: string; path: string; headers: string; body: string };
}

export const SETTINGS = 'worker.json';

export function withSource(source: string, rest: Partial<Program> = {}): Program {
  return {
    main: 'index.js',
    settings: '{}\n',
    request: { method: 'GET', path: '/', headers: '', body: '' },
    ...rest,
    files: [{ name: 'index.js', text: source }, ...(rest.files ?? [])],
  };
}

/** WorkerCode as the API takes it. Throws an Error for people when worker.json can't be used. */
export function codeOf(program: Program): Record<string, unknown> {
  let settings: unknown;
  try {
    settings = JSON.parse(program.settings.trim() || '{}');
  } catch (error) {
    throw new Error(`${SETTINGS} is not JSON: ${(error as Error).message}`);
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) throw new Error(`${SETTINGS} must be an object.`);
  const modules = program.files.filter((file) => !file.note).map((file) => [file.name, moduleOf(file)]);
  return { ...settings, mainModule: program.main, modules: Object.fromEntries(modules) };
}

function moduleOf(file: File_): unknown {
  if (file.base64 !== undefined) return { [file.name.endsWith('.wasm') ? 'wasm' : 'data']: file.base64 };
  const text = file.text ?? '';
  if (/\.m?js$/.test(file.name)) return text;
  if (file.name.endsWith('.cjs')) return { cjs: text };
  if (!file.name.endsWith('.json')) return { text };
  try {
    return { json: JSON.parse(text) as unknown };
  } catch (error) {
    throw new Error(`${file.name} is not JSON: ${(error as Error).message}`);
  }
}

/** The request's headers, one `name: value` a line. */
export function headersOf(text: string): [string, string][] {
  const lines = text.split('\n').filter((line) => line.trim());
  return lines.map((line) => {
    const at = line.indexOf(':');
    if (at < 1) throw new Error(`Headers: a line is \`name: value\`, not \`${line.trim()}\`.`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
}

// In an address a program is JSON, deflated, as base64url behind the #: it stays in the browser.

export async function toFragment(program: Program): Promise<string> {
  const packed = await through(new TextEncoder().encode(JSON.stringify(program)), new CompressionStream('deflate-raw'));
  let text = '';
  for (const byte of packed) text += String.fromCharCode(byte);
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The program of a fragment; null when it is none. */
export async function fromFragment(text: string): Promise<Program | null> {
  try {
    const packed = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const found: unknown = JSON.parse(new TextDecoder().decode(await through(packed, new DecompressionStream('deflate-raw'))));
    return isProgram(found) ? found : null;
  } catch {
    return null;
  }
}

const MOST = 4 << 20; // a small address can unfold to a lot

async function through(data: Uint8Array<ArrayBuffer>, stream: CompressionStream | DecompressionStream): Promise<Uint8Array<ArrayBuffer>> {
  const reader = new Blob([data]).stream().pipeThrough(stream).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MOST) throw new Error('too large');
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function isProgram(value: unknown): value is Program {
  const given = value as Program;
  const text = (one: unknown): boolean => one === undefined || typeof one === 'string';
  return (
    [given.main, given.settings].every((one) => typeof one === 'string') &&
    given.files.length > 0 &&
    given.files.every((file) => typeof file.name === 'string' && text(file.text) && text(file.base64)) &&
    [given.request.method, given.request.path, given.request.headers, given.request.body].every((one) => typeof one === 'string')
  );
}
