import type { Program } from './program';

type Request_ = Program['request'];
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

/** The request that the code answers. */
export function RequestForm({ request, set }: { request: Request_; set(next: Request_): void }) {
  const hasBody = !/^(GET|HEAD)$/.test(request.method);
  return (
    <div class="request">
      <div class="request-line">
        <select aria-label="Method" value={request.method} onChange={(event) => set({ ...request, method: event.currentTarget.value })}>
          {METHODS.map((method) => (
            <option key={method}>{method}</option>
          ))}
        </select>
        <input
          aria-label="Path and query"
          class="mono"
          value={request.path}
          placeholder="/"
          spellcheck={false}
          onInput={(event) => set({ ...request, path: event.currentTarget.value })}
        />
      </div>
      <div class="request-more">
        <label>
          Headers
          <textarea
            rows={2}
            value={request.headers}
            placeholder="name: value"
            spellcheck={false}
            onInput={(event) => set({ ...request, headers: event.currentTarget.value })}
          />
        </label>
        <label>
          Body {!hasBody && <span>({request.method} has none)</span>}
          <textarea
            rows={2}
            value={request.body}
            disabled={!hasBody}
            spellcheck={false}
            onInput={(event) => set({ ...request, body: event.currentTarget.value })}
          />
        </label>
      </div>
    </div>
  );
}
