/*case {"desc": "a tracing channel's events", "compatibilityFlags": ["nodejs_compat"]} */
import dc from 'node:diagnostics_channel';export default {fetch(){const t=dc.tracingChannel('t');const r=t.traceSync(()=>5,{c:1});return new Response(''+r)}}
