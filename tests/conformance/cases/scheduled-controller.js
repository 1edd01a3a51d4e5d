/*case {"desc": "the controller is an object of its own class", "scheduled": {"cron": "x", "time": 5}} */
export default { scheduled(c,e,x){ console.log(c,String(c),Object.getOwnPropertyNames(Object.getPrototypeOf(c)).sort(),typeof c.scheduledTime,String(x)); } }
