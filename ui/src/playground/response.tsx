// The response: its body is text, whatever it claims to be. HTML can be looked at in a frame without scripts or origin.
import { useState } from 'preact/hooks';
import { bytes } from '../core/format';
import type { RunResult } from '../core/types';
import { Copy, Tabs } from '../parts/parts';

type Response_ = NonNullable<RunResult['response']>;

export function ResponseView({ response }: { response: Response_ }) {
  const [tab, setTab] = useState('body');
  const type = response.headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? '';
  const isHtml = /\bhtml\b/i.test(type) && response.body !== undefined;
  const tabs = [
    { id: 'body', name: 'Body' },
    ...(isHtml ? [{ id: 'page', name: 'Rendered' }] : []),
    { id: 'headers', name: `Headers ${response.headers.length}` },
  ];
  const shown = tabs.some((one) => one.id === tab) ? tab : 'body';
  return (
    <section class="panel response" aria-label="Response">
      <div class="response-bar">
        <Tabs label="Response" tabs={tabs} now={shown} set={setTab} />
        {response.body !== undefined && <Copy text={() => response.body ?? ''} label="Copy body" />}
      </div>
      {shown === 'headers' ? (
        <table>
          <tbody>
            {response.headers.map(([name, value], n) => (
              <tr key={n}>
                <th scope="row" class="mono">
                  {name}
                </th>
                <td class="mono wide">{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : shown === 'page' ? (
        <iframe title="The response, rendered without scripts" sandbox="" srcdoc={response.body ?? ''} />
      ) : (
        <pre class="panel-body body" tabIndex={0}>
          {bodyText(response, type)}
        </pre>
      )}
    </section>
  );
}

function bodyText(response: Response_, type: string): string {
  if (response.bodyBase64 !== undefined) {
    const size = Math.floor((response.bodyBase64.length * 3) / 4);
    const head = Array.from(atob(response.bodyBase64.slice(0, 684)), (c) => c.charCodeAt(0).toString(16).padStart(2, '0'));
    return `${bytes(size)} that are no text${size > head.length ? '; they begin with' : ''}:\n\n${head.join(' ')}`;
  }
  const body = response.body ?? '';
  if (body === '') return '(empty)';
  if (/json/i.test(type))
    try {
      return JSON.stringify(JSON.parse(body), null, 2);
    } catch {
      return body;
    }
  return body;
}
