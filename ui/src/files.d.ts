declare module '*.css';
declare module '*.wasm' {
  const base64: string;
  export default base64;
}
declare module '*.wat' {
  const text: string;
  export default text;
}
