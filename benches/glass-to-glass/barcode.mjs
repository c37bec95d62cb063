// The time of this machine as bars along the top of a picture: 40 of them, side by side from edge to edge; two that mark
// the ends, 36 bits of the time in milliseconds, two of parity. At 16 pixels each they survive any encoder.
export const bars = 40
const bits = 36

// From left to right, 1 for white.
export function barsOf(time) {
  const values = [1, 0]
  let ones = 0
  for (let bit = bits - 1; bit >= 0; bit -= 1) {
    const value = Math.floor(time / 2 ** bit) % 2
    ones += value
    values.push(value)
  }
  values.push(ones % 2, (ones + 1) % 2)
  return values
}

// Runs in the page: reads the bars of each frame that is shown.
export function watch() {
  const cells = 40
  const canvas = document.createElement('canvas')
  canvas.width = cells * 16
  canvas.height = 1
  const context = canvas.getContext('2d', { willReadFrequently: true })
  globalThis.glass = { delays: [], unread: 0, stalls: 0, firstMs: null }
  const { glass } = globalThis
  const read = (video) => {
    // One row from the middle of the bars.
    context.drawImage(video, 0, (16 * video.videoHeight) / 360, video.videoWidth, 1, 0, 0, cells * 16, 1)
    const { data } = context.getImageData(0, 0, cells * 16, 1)
    const values = Array.from({ length: cells }, (_, index) => (data[(index * 16 + 8) * 4] > 128 ? 1 : 0))
    const time = values.slice(2, 38)
    const ones = time.reduce((sum, value) => sum + value, 0)
    if (values[0] !== 1 || values[1] !== 0 || values[38] !== ones % 2 || values[39] !== (ones + 1) % 2) return null
    return time.reduce((sum, value) => sum * 2 + value, 0)
  }
  const attach = (video) => {
    video.addEventListener('waiting', () => glass.firstMs !== null && (glass.stalls += 1))
    const onFrame = () => {
      if (glass.firstMs === null) {
        glass.firstMs = performance.now()
        // Told, since asking for it makes the page busy while it loads.
        console.debug(`first frame ${glass.firstMs}`)
      }
      const time = read(video)
      if (time === null) glass.unread += 1
      else glass.delays.push([performance.now(), (Date.now() % 2 ** 36) - time])
      video.requestVideoFrameCallback(onFrame)
    }
    video.requestVideoFrameCallback(onFrame)
  }
  // The page may put another one in its place, as when a new stream begins.
  let attached = null
  setInterval(() => {
    const video = document.querySelector('video')
    if (video === attached || video === null) return
    attached = video
    attach(video)
  }, 10)
}
