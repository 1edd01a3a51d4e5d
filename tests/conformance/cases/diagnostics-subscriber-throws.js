/*case {"desc": "a subscriber's exception is the publisher's", "compatibilityFlags": ["nodejs_compat"]} */
import dc from 'node:diagnostics_channel';export default {fetch(){const c=dc.channel('x');c.subscribe(()=>{throw new Error('sub')});c.publish(1);return new Response('ok')}}
