/*case {"desc": "logging while an argument is serialised"} */
export default {fetch(){console.log({toJSON(){console.log('inner');return 'outer'}});console.log(new (class{toString(){console.warn('in toString');return 'ts'}}));console.log({get a(){console.error('getter');return 1}},{b:2});return new Response('x')}}
