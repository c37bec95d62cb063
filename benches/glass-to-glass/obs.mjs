// OBS as people have it: x264 veryfast, CBR, B-frames, key frames every 2 s; it captures a screen.
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const ini = (sections) =>
  Object.entries(sections)
    .map(([name, values]) => `[${name}]\n${Object.entries(values).map(([key, value]) => `${key}=${value}\n`).join('')}`)
    .join('\n')

const scenes = {
  name: 'Test',
  current_scene: 'Scene',
  current_program_scene: 'Scene',
  scene_order: [{ name: 'Scene' }],
  sources: [
    { id: 'xshm_input', versioned_id: 'xshm_input', name: 'Screen', settings: { screen: 0, show_cursor: false } },
    { id: 'scene', versioned_id: 'scene', name: 'Scene', settings: { id_counter: 1, items: [{ name: 'Screen', id: 1, visible: true }] } },
  ],
}

// Starts it, and it starts to stream to `server` (rtmp://…/live) at once. Everything it keeps is in `folder`.
export function startObs({ display, server, key, folder, encoder = {} }) {
  const home = join(folder, 'home')
  const settings = join(home, 'config', 'obs-studio')
  const runtime = join(folder, 'run')
  const profile = join(settings, 'basic/profiles/Test')
  for (const name of [profile, join(settings, 'basic/scenes'), runtime]) mkdirSync(name, { recursive: true })
  chmodSync(runtime, 0o700)
  const global = {
    General: {
      FirstRun: true,
      LastVersion: 486539266,
      Pre19Defaults: false,
      Pre21Defaults: false,
      Pre23Defaults: false,
      'Pre24.1Defaults': false,
    },
    Basic: { Profile: 'Test', ProfileDir: 'Test', SceneCollection: 'Test', SceneCollectionFile: 'Test' },
    BasicWindow: { SysTrayEnabled: false, WarnBeforeStartingStream: false },
    OBSWebSocket: { FirstLoad: false, ServerEnabled: false },
  }
  writeFileSync(join(settings, 'global.ini'), ini(global))
  const basic = {
    General: { Name: 'Test' },
    Video: { BaseCX: 1280, BaseCY: 720, OutputCX: 1280, OutputCY: 720, FPSType: 0, FPSCommon: 30 },
    Output: { Mode: 'Advanced', Reconnect: true, RetryDelay: 2 },
    AdvOut: { Encoder: 'obs_x264' },
  }
  writeFileSync(join(profile, 'basic.ini'), ini(basic))
  const x264 = { bitrate: 2500, keyint_sec: 2, preset: 'veryfast', rate_control: 'CBR', profile: 'high', ...encoder }
  writeFileSync(join(profile, 'streamEncoder.json'), JSON.stringify(x264))
  const service = { type: 'rtmp_custom', settings: { server, key, use_auth: false } }
  writeFileSync(join(profile, 'service.json'), JSON.stringify(service))
  writeFileSync(join(settings, 'basic/scenes/Test.json'), JSON.stringify(scenes))
  const choices = ['--multi', '--startstreaming', '--profile', 'Test', '--collection', 'Test', '--minimize-to-tray', '--disable-missing-files-check']
  return spawn('obs', choices, {
    stdio: ['ignore', 'ignore', 'ignore'],
    cwd: folder,
    env: {
      ...process.env,
      HOME: home,
      XDG_CONFIG_HOME: join(home, 'config'),
      XDG_RUNTIME_DIR: runtime,
      DISPLAY: display,
      LIBGL_ALWAYS_SOFTWARE: '1',
      QT_QPA_PLATFORM: 'xcb',
    },
  })
}

// What it says itself of what it added or left out: on a busy machine pictures wait for its encoder, up to half a second long.
export function remarksOfObs(folder) {
  const logs = join(folder, 'home/config/obs-studio/logs')
  const lines = readdirSync(logs).flatMap((name) => readFileSync(join(logs, name), 'utf8').split('\n'))
  return lines.filter((line) => /audio buffering|lagged frames|skipped frames/i.test(line))
}
