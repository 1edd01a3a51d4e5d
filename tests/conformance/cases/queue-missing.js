/*case {"desc": "no queue() handler", "queue": {"name": "qq", "messages": [{"id": "a", "body": "1"}]}} */
export default { }
