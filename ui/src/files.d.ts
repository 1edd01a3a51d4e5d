declare module '*.css';
declare module '*.wat' {
  const text: string;
  export default text;
}
