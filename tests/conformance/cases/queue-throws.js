/*case {"desc": "explicit acks survive an exception", "queue": {"name": "qq", "messages": [{"id": "a", "body": "1"}, {"id": "b", "body": "1"}]}} */
export default { async queue(b){ b.messages[0].ack(); throw new Error('qe') } }
