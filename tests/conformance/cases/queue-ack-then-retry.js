/*case {"desc": "calls that have no effect are warned of", "queue": {"name": "qq", "messages": [{"id": "a", "body": "1"}]}} */
export default { async queue(b){ b.messages[0].ack(); b.messages[0].retry(); b.retryAll(); b.ackAll() } }
