// Reads compose.yaml without Docker, which CI lacks, and holds it to what operations.md promises:
// known keys, nothing dangling, only `weir` published, everything restarted and watched.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const { parse } = createRequire(new URL('../frontend/package.json', import.meta.url))('yaml')

const file = process.argv[2]
const compose = parse(readFileSync(file, 'utf8'), { strict: true, uniqueKeys: true, merge: true })
const problems = []
const check = (holds, problem) => holds || problems.push(problem)
const names = (value) => (Array.isArray(value) ? value : Object.keys(value ?? {}))

const topLevel = ['name', 'services', 'volumes', 'networks', 'secrets', 'configs']
const serviceKeys = [
  'build', 'cap_drop', 'command', 'configs', 'depends_on', 'entrypoint', 'environment', 'healthcheck', 'image', 'init',
  'networks', 'ports', 'profiles', 'read_only', 'restart', 'secrets', 'security_opt', 'stop_grace_period', 'tmpfs',
  'user', 'volumes',
]
for (const key of Object.keys(compose)) check(topLevel.includes(key) || key.startsWith('x-'), `unknown key ${key}`)
check(Object.keys(compose.services ?? {}).length > 0, 'no services')

const used = { volumes: new Set(), networks: new Set(), secrets: new Set(), configs: new Set() }
for (const [name, service] of Object.entries(compose.services ?? {})) {
  const at = `service ${name}`
  for (const key of Object.keys(service)) check(serviceKeys.includes(key), `${at}: unknown key ${key}`)
  check(service.image || service.build, `${at}: neither image nor build`)
  check(service.image === undefined || /:[^/]+$/.test(service.image), `${at}: the image names no version`)

  const isOnce = service.restart === 'no'
  check(isOnce || service.restart === 'unless-stopped', `${at}: restart must be unless-stopped, or "no" for a task`)
  check(isOnce || service.healthcheck?.test, `${at}: no healthcheck`)
  check(!service.ports || name === 'weir', `${at}: only weir is published`)

  for (const [other, how] of Object.entries(Array.isArray(service.depends_on) ? {} : (service.depends_on ?? {}))) {
    const target = compose.services[other]
    check(target, `${at}: depends on ${other}, which does not exist`)
    const wanted = target?.restart === 'no' ? 'service_completed_successfully' : 'service_healthy'
    check(how?.condition === wanted, `${at}: must wait for ${other} by ${wanted}`)
  }
  check(!Array.isArray(service.depends_on), `${at}: depends_on without conditions`)

  for (const volume of service.volumes ?? []) {
    const source = typeof volume === 'string' ? volume.split(':')[0] : volume.source
    if (/^[./~]/.test(source)) check(/:ro$/.test(volume), `${at}: ${source} is a writable folder of the host, not a volume`)
    else used.volumes.add(source)
  }
  check(service.networks, `${at}: on the default network, which reaches the outside`)
  for (const network of names(service.networks)) used.networks.add(network)
  for (const secret of service.secrets ?? []) used.secrets.add(secret.source ?? secret)
  for (const config of service.configs ?? []) used.configs.add(config.source ?? config)
  for (const [key, value] of Object.entries(service.environment ?? {}))
    check(!/(PASSWORD|SECRET|TOKEN)$/.test(key), `${at}: ${key}=${value} is a secret outside a file`)
}
for (const kind of Object.keys(used)) {
  const declared = new Set(Object.keys(compose[kind] ?? {}))
  for (const name of used[kind]) check(declared.has(name), `${kind}: ${name} is used and not declared`)
  for (const name of declared) check(used[kind].has(name), `${kind}: ${name} is declared and not used`)
}
for (const [name, secret] of Object.entries(compose.secrets ?? {})) check(secret.file, `secret ${name}: not from a file`)
const inner = Object.entries(compose.networks ?? {}).filter(([, network]) => network?.internal)
check(inner.length > 0, 'no internal network')

if (problems.length > 0) {
  for (const problem of problems) console.error(`${file}: ${problem}`)
  process.exit(1)
}
