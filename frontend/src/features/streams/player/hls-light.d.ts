// hls.js without what a stream of Weir does not have: sound apart from the picture, subtitles, keys. It has no types of its own.
declare module 'hls.js/light' {
  export * from 'hls.js'
  export { default } from 'hls.js'
}
