/*case {"desc": "retryAll() with a delay", "queue": {"name": "qq", "messages": [{"id": "a", "body": "1"}]}} */
export default { async queue(b){ b.retryAll({delaySeconds:9}) } }
