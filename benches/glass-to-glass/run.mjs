// Glass to glass: how old is the picture that a viewer sees?
//
//   node benches/glass-to-glass/run.mjs --seconds 60
//
// Draws the time of this machine into each frame as a barcode, sends it by RTMP from a low-latency encoder, and reads it
// back from what Chromium shows, frame by frame. Both ends have the same clock. Three viewers, one after the other: the
// watch page as people have it, a bare page with hls.js as its examples set it up for low latency, and the same with
// plain HLS. With `--obs` the encoder is a real OBS at its defaults, which captures a screen on which the bars are drawn.
//
// Needs `make build`, ffmpeg, Chromium and the web app's packages (frontend/node_modules); with `--obs` also obs-studio,
// xvfb and libgl1-mesa-dri. Options:
//   --seconds N    how long each viewer watches (60)
//   --obs          OBS instead of ffmpeg
//   --weir FILE    which binary (target/release/weir)
//   --part-ms N    how long parts are (333)
//   --only NAME    watch-page, low-latency or plain
//   --loads N      instead of watching, opens each page so often with an empty cache: the first frame (0)
//   --ladder       with a rendition of 180 rows beside the source
import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { loadavg, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { barsOf, watch } from './barcode.mjs'
import { remarksOfObs, startObs } from './obs.mjs'
import { startScreen } from './screen.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const require = createRequire(join(root, 'frontend/package.json'))
const { chromium } = require('@playwright/test')
const hlsSource = readFileSync(require.resolve('hls.js/dist/hls.min.js'), 'utf8')

const option = (name, otherwise) => {
  const index = process.argv.indexOf(`--${name}`)
  return index < 0 ? otherwise : process.argv[index + 1]
}
const seconds = Number(option('seconds', '60'))
const partMs = option('part-ms', '333')
const binary = resolve(root, option('weir', 'target/release/weir'))
const only = option('only', null)
const loads = Number(option('loads', '0'))
const isObs = process.argv.includes('--obs')
const ladder = process.argv.includes('--ladder') ? ['--ladder-rungs', '180p:180:30:200'] : ['--ladder-enabled', 'false']

// A frame of ffmpeg's: 30 a second, grey, with bars of 16 × 32 pixels.
const width = 640
const height = 360
const framesPerSecond = 30
const cell = 16
const children = []

function drawFrame(time, number) {
  const luma = width * height
  const frame = Buffer.alloc((luma * 3) / 2, 128)
  // Something that moves, so that the encoder has work to do.
  const at = (number * 8) % (width - 64)
  for (let y = 120; y < 300; y += 1) frame.fill(60 + ((number * 3) % 120), y * width + at, y * width + at + 64)
  for (const [index, value] of barsOf(time).entries()) {
    for (let y = 0; y < 32; y += 1) frame.fill(value === 1 ? 235 : 16, y * width + index * cell, y * width + (index + 1) * cell)
  }
  return frame
}

function startFfmpeg(address) {
  const encoder = spawn(
    'ffmpeg',
    [
      ...['-hide_banner', '-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-s', `${width}x${height}`],
      ...['-use_wallclock_as_timestamps', '1', '-i', 'pipe:0', '-f', 'lavfi', '-i', 'sine=frequency=300:sample_rate=48000'],
      ...['-c:v', 'libx264', '-preset', 'superfast', '-tune', 'zerolatency', '-b:v', '1500k', '-g', '60', '-r', '30'],
      ...['-vsync', 'cfr', '-c:a', 'aac', '-flush_packets', '1', '-f', 'flv', address],
    ],
    { stdio: ['pipe', 'ignore', 'inherit'] },
  )
  children.push(encoder)
  const began = performance.now()
  let number = 0
  const timer = setInterval(() => {
    // Catches up after a late wake-up, and leaves out what the encoder does not take.
    while (performance.now() - began >= (number * 1000) / framesPerSecond) {
      if (encoder.stdin.writableLength < width * height * 4) encoder.stdin.write(drawFrame(Date.now() % 2 ** 36, number))
      number += 1
    }
  }, 4)
  encoder.stdin.on('error', () => clearInterval(timer))
  return () => {
    clearInterval(timer)
    encoder.stdin.end()
  }
}

async function startScreenAndObs(server, key, folder) {
  const screen = await startScreen()
  const obs = startObs({ display: screen.name, server, key, folder })
  children.push(obs, screen.server)
  return () => {
    screen.stop()
    obs.kill('SIGINT')
  }
}

function startWeir() {
  const folder = mkdtempSync(join(tmpdir(), 'weir-glass-'))
  const anywhere = ['--http', '127.0.0.1:0', '--rtmp', '127.0.0.1:0', '--metrics', '127.0.0.1:0', ...ladder]
  const weir = spawn(binary, ['up', '--data-dir', join(folder, 'data'), ...anywhere, '--part-ms', partMs], {
    stdio: ['ignore', 'pipe', 'ignore'],
    cwd: folder,
  })
  children.push(weir)
  return new Promise((done, fail) => {
    let said = ''
    weir.on('exit', () => fail(new Error(`weir did not start: ${said}`)))
    weir.stdout.on('data', (piece) => {
      said += String(piece)
      const http = /Watch\s+(http:\S+)/.exec(said)?.[1]
      const rtmp = /Publish\s+(rtmp:\S+)/.exec(said)?.[1]
      if (http !== undefined && rtmp !== undefined) done({ http: http.replace(/\/$/, ''), rtmp, weir, folder })
    })
  })
}

async function makeChannel(http) {
  const call = async (path, body, token) => {
    const headers = { 'content-type': 'application/json' }
    if (token !== undefined) headers.authorization = `Bearer ${token}`
    const answer = await fetch(`${http}/api/v1/${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    return answer.json()
  }
  const account = { username: 'glass', email: 'glass@example.org', password: 'a long pass phrase for glass' }
  const session = await call('auth/register', account)
  await call('channels', { handle: 'glass', title: 'Glass to glass' }, session.access_token)
  const { stream_key: key } = await call('channels/glass/stream-key', undefined, session.access_token)
  return { key, channel: () => call('channels/glass') }
}

const barePage = (url, isLowLatency) => `<!doctype html><video muted autoplay playsinline style="width:640px"></video>
<script src="/hls.js"></script><script>
const hls = new Hls({ lowLatencyMode: ${isLowLatency}${isLowLatency ? ', maxLiveSyncPlaybackRate: 1.5, liveSyncOnStallIncrease: 0' : ''} })
hls.attachMedia(document.querySelector('video')); hls.loadSource(${JSON.stringify(url)})
</script>`

function at(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

async function measure(browser, name, url) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } })
  await page.addInitScript(watch)
  await page.goto(url)
  await page.waitForFunction(() => globalThis.glass.firstMs !== null, null, { timeout: 60_000 })
  // It finds its distance in the first seconds.
  await page.waitForTimeout(10_000)
  const settled = await page.evaluate(() => {
    globalThis.glass.stalls = 0
    return performance.now()
  })
  await page.waitForTimeout(seconds * 1000)
  const glass = await page.evaluate(() => globalThis.glass)
  await page.close()
  const frames = glass.delays.filter(([shown]) => shown >= settled)
  const pause = frames.reduce((longest, [shown], index) => {
    const length = index === 0 ? 0 : shown - frames[index - 1][0]
    return length > longest.length ? { length, after: shown - settled } : longest
  }, { length: 0, after: 0 })
  const delays = frames.map(([, delay]) => delay)
  delays.sort((a, b) => a - b)
  const figures = [
    `p50 ${(at(delays, 0.5) / 1000).toFixed(2)} s`,
    `p95 ${(at(delays, 0.95) / 1000).toFixed(2)} s`,
    `most ${(at(delays, 1) / 1000).toFixed(2)} s`,
    `first frame ${(glass.firstMs / 1000).toFixed(2)} s after the page was asked for`,
    `stalls ${glass.stalls}`,
    `longest pause ${(pause.length / 1000).toFixed(2)} s after ${(pause.after / 1000).toFixed(0)} s`,
    `${delays.length} frames read, ${glass.unread} not`,
    `load ${loadavg()[0].toFixed(1)}`,
  ]
  console.log(`${name.padEnd(12)} ${figures.join(', ')}`)
}

async function open(browser, name, url) {
  const firsts = []
  // One more, which is not counted: what the server reads once it keeps.
  for (let load = 0; load <= loads; load += 1) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
    const page = await context.newPage()
    await page.addInitScript(watch)
    // Nothing is run in the page meanwhile: what Playwright puts into it for that takes a tenth of a second of it.
    const shown = page.waitForEvent('console', { predicate: (said) => said.text().startsWith('first frame '), timeout: 60_000 })
    await page.goto(url, { waitUntil: 'commit' })
    const first = Number((await shown).text().split(' ')[2])
    await context.close()
    if (load > 0) firsts.push(first)
    // At another place between two key frames each time.
    await new Promise((done) => setTimeout(done, 300 + ((load * 150) % 700)))
  }
  firsts.sort((a, b) => a - b)
  const [least, p50, most] = [0, 0.5, 1].map((share) => (at(firsts, share) / 1000).toFixed(2))
  console.log(`${name.padEnd(12)} first frame p50 ${p50} s (${least} to ${most}), ${loads} loads, load ${loadavg()[0].toFixed(1)}`)
}

async function end(weir) {
  weir.removeAllListeners('exit')
  if (weir.exitCode !== null) return
  weir.kill('SIGTERM')
  await new Promise((done) => weir.on('exit', done))
}

async function main() {
  const { http, rtmp, weir, folder } = await startWeir()
  try {
    const { key, channel } = await makeChannel(http)
    const stop = isObs ? await startScreenAndObs(rtmp, key, folder) : startFfmpeg(`${rtmp}/${key}`)
    let found = await channel()
    while (!found.is_live) {
      await new Promise((done) => setTimeout(done, 200))
      found = await channel()
    }
    const hls = found.playback.hls_url
    const bare = createServer((request, response) => {
      if (request.url === '/hls.js') return response.end(hlsSource)
      response.setHeader('content-type', 'text/html')
      return response.end(barePage(hls, request.url === '/low-latency'))
    })
    await new Promise((done) => bare.listen(0, '127.0.0.1', done))
    const own = `http://127.0.0.1:${bare.address().port}`
    const browser = await chromium.launch({
      executablePath: process.env.WEIR_CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--autoplay-policy=no-user-gesture-required'],
    })
    const encoder = isObs ? 'OBS at its defaults, 1280×720 at 30/s' : `${width}×${height} at ${framesPerSecond}/s, x264 zerolatency`
    console.log(`glass to glass: ${encoder}, parts of ${partMs} ms${loads > 0 ? '' : `, ${seconds} s each`}`)
    for (const [name, url] of [
      ['watch-page', `${http}/glass`],
      ['low-latency', `${own}/low-latency`],
      ['plain', `${own}/plain`],
    ]) {
      if (only === null || only === name) await (loads > 0 ? open : measure)(browser, name, url)
    }
    await browser.close()
    bare.close()
    // Before the encoder: OBS says what became of its pictures once it is cut off.
    await end(weir)
    stop()
    if (isObs) for (const remark of remarksOfObs(folder)) console.log(`obs: ${remark}`)
  } finally {
    await end(weir)
    rmSync(folder, { recursive: true, force: true })
  }
}

try {
  await main()
} finally {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
}
