/*case {"desc": "no scheduled() handler", "scheduled": {"cron": "x", "time": 1}} */
export default { fetch(){} }
