import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page, Route } from '@playwright/test'

/** Pictures and a short stream for the screenshots, drawn by ffmpeg once and kept outside the project. */
const folder = join(tmpdir(), 'weir-screenshots-media')

const scenes = [
  'mandelbrot=s=640x360:start_scale=0.3:start_x=-0.7463:start_y=0.1102',
  'gradients=s=1280x720:c0=0x0b2a3a:c1=0x1f8a8c:c2=0xe0b070:n=3:seed=7:d=1',
  'sierpinski=s=1280x720:type=carpet:seed=4',
  'life=s=1280x720:mold=10:r=25:ratio=0.12:death_color=0x0e3a4a:life_color=0x9fe8e0:seed=9',
  'gradients=s=1280x720:c0=0x301020:c1=0xd07050:c2=0xf0d0a0:n=3:seed=3:d=1',
  'testsrc2=s=1280x720',
  'cellauto=s=1280x720:rule=110:seed=2',
  'gradients=s=1280x720:c0=0x102018:c1=0x4f9050:c2=0xc0e0b0:n=3:seed=12:d=1',
]

function ffmpeg(...args: string[]): void {
  const { status, stderr } = spawnSync('ffmpeg', ['-loglevel', 'error', '-y', ...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ffmpeg: ${stderr}`)
}

export function drawMedia(): void {
  mkdirSync(join(folder, 'source'), { recursive: true })
  for (const [index, scene] of scenes.entries()) {
    const file = join(folder, `${index}.jpg`)
    if (!existsSync(file))
      ffmpeg('-f', 'lavfi', '-i', scene, '-ss', '0.5', '-frames:v', '1', '-s', '640x360', file)
  }
  if (existsSync(join(folder, 'source', 'index.m3u8'))) return
  ffmpeg(
    ...[
      '-f',
      'lavfi',
      '-i',
      'gradients=s=1280x720:r=30:c0=0x06202c:c1=0x1f8a8c:c2=0xe8b878:n=3:seed=5:speed=0.015',
    ],
    ...[
      '-f',
      'lavfi',
      '-i',
      'sine',
      '-t',
      '24',
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
      '-g',
      '60',
      '-c:a',
      'aac',
    ],
    ...[
      '-f',
      'hls',
      '-hls_time',
      '2',
      '-hls_list_size',
      '0',
      '-hls_segment_type',
      'fmp4',
      '-hls_flags',
      'omit_endlist',
    ],
    ...['-hls_segment_filename', join(folder, 'source', 's%d.m4s'), join(folder, 'source', 'index.m3u8')],
  )
}

const master =
  '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-STREAM-INF:BANDWIDTH=4500000,RESOLUTION=1280x720,FRAME-RATE=30,CODECS="avc1.42c01f,mp4a.40.2"\nsource/index.m3u8\n' +
  '#EXT-X-STREAM-INF:BANDWIDTH=1200000,RESOLUTION=854x480,FRAME-RATE=30,CODECS="avc1.42c01f,mp4a.40.2"\n480p/index.m3u8\n'

/** Serves the drawn media under `/live`. */
export async function serveMedia(page: Page): Promise<void> {
  await page.route(/\/(live|vod|media)\//, async (route) => {
    const { pathname } = new URL(route.request().url())
    if (pathname.startsWith('/media/')) return route.fulfill({ path: join(folder, '0.jpg') })
    // In each size and kind that a page may ask for.
    if (/\/thumbnail[^/]*$/.test(pathname)) {
      const digits = /(\d+)\/thumbnail/.exec(pathname)?.[1] ?? '0'
      return route.fulfill({ path: join(folder, `${Number(digits) % scenes.length}.jpg`) })
    }
    // The past is the same as now.
    const name = (pathname.split('/').at(-1) ?? '').replace('rewind.m3u8', 'index.m3u8')
    if (name === 'index.m3u8' && !/\/(source|480p)\//.test(pathname)) {
      return route.fulfill({ contentType: 'application/vnd.apple.mpegurl', body: master })
    }
    const file = join(folder, 'source', name)
    if (pathname.startsWith('/vod/') && name === 'index.m3u8') {
      const body = `${readFileSync(file, 'utf8')}#EXT-X-ENDLIST\n`
      return route.fulfill({ contentType: 'application/vnd.apple.mpegurl', body })
    }
    if (!existsSync(file)) return route.fulfill({ status: 404 })
    return route.fulfill({
      contentType: name.endsWith('.m3u8') ? 'application/vnd.apple.mpegurl' : 'video/mp4',
      body: readFileSync(file),
    })
  })
}

/** A body; a refusal, with what its problem document says besides; or silence. */
export type Answer = object | { status: number; code: string } | 'never'

/** Answers calls of the API, `GET channels/marina` say, by what the table has; 404 for the rest. */
export async function serveApi(page: Page, answers: Record<string, Answer>): Promise<void> {
  await page.route('**/healthz', (route) => route.fulfill({ status: 503 }))
  await page.route('**/api/v1/**', async (route) => {
    const request = route.request()
    const { pathname, searchParams } = new URL(request.url())
    const path = pathname.replace('/api/v1/', '')
    const live = searchParams.get('live')
    const answer =
      answers[`${request.method()} ${path}${live === null ? '' : `?live=${live}`}`] ??
      answers[`${request.method()} ${path}`]
    if (answer === 'never') return
    if (answer === undefined && /\/(recordings|invites|team)$/.test(path)) {
      return route.fulfill({ status: 200, json: { items: [], next_cursor: null } })
    }
    if (answer === undefined) return refuse(route, 404, 'not_found')
    if ('code' in answer && 'status' in answer) {
      const { status, code, ...more } = answer
      return refuse(route, Number(status), String(code), more)
    }
    return route.fulfill({ status: 200, json: answer })
  })
}

function refuse(route: Route, status: number, code: string, more: object = {}): Promise<void> {
  const document = { type: 'about:blank', title: code, status, code, request_id: '01935a3c-7c5e', ...more }
  return route.fulfill({
    status,
    contentType: 'application/problem+json',
    body: JSON.stringify(document),
  })
}
