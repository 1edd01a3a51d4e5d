import { change } from '../core/place';
import { anew, type Search } from '../core/search';
import { Command, Empty } from '../parts/parts';

const FIRST = `echo 'export default { fetch() { console.log({ user: "u-42" }); return new Response("hi") } }' > worker.js
curl -X PUT ${location.origin}/v1/workers/demo -H 'content-type: application/javascript' --data-binary @worker.js
curl ${location.origin}/w/demo/`;

/** Why nothing is here, and what to do about it. */
export function NoLogs({ search, live }: { search: Search; live: boolean }) {
  if (live)
    return (
      <Empty title="Waiting for the next record" curl={`curl ${location.origin}/w/demo/`}>
        What workers log appears here at once. Call one:
      </Empty>
    );
  const filtered = Boolean(search.q.trim() || search.levels.length || search.outcomes.length);
  if (filtered || search.since !== 'all')
    return (
      <div class="empty">
        <h2>{filtered ? 'No record fits this search' : 'No records in this time'}</h2>
        <p>The store keeps a week by default. You can look at all of it, or begin anew.</p>
        <p class="actions">
          {search.since !== 'all' && <button onClick={() => change(anew({ since: 'all', until: null }))}>Search all time</button>}
          {filtered && <button onClick={() => change(anew({ q: null, level: [], outcome: [] }))}>Clear the search</button>}
          <a class="button" href="/playground">
            Run something
          </a>
        </p>
        <Command text={FIRST} />
      </div>
    );
  return (
    <Empty title="No logs yet" curl={FIRST}>
      Deploy a worker, call it, and come back; or run one in the <a href="/playground">playground</a>.
    </Empty>
  );
}
