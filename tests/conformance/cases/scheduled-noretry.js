/*case {"desc": "noRetry()", "scheduled": {"cron": "cc", "time": 1}} */
export default { scheduled(c){ c.noRetry(); } }
