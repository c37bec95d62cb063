// Reads compose.yaml without Docker, which CI lacks, and holds it to what operations.md promises:
// known keys, nothing dangling, only `weir` published, everything restarted and watched, mail that can leave, proxies that are
// named, a NATS that asks for a password. And the examples of proxies to the same.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

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

const folder = dirname(file)
const read = (name) => readFileSync(join(folder, name), 'utf8')
const secretsOf = (service) => (service.secrets ?? []).map((secret) => secret.source ?? secret)
const has = (service, name) => Object.hasOwn(service.environment ?? {}, name)
// The roles of each service of ours that stays up.
const roles = new Map()
for (const [name, service] of Object.entries(compose.services ?? {})) {
  const words = Array.isArray(service.command) ? service.command : []
  const role = words.indexOf('--role')
  if (words[0] === 'serve' && role > 0) roles.set(name, String(words[role + 1]).split(','))
}
const withRole = (role) => [...roles].filter(([, of]) => of.includes(role)).map(([name]) => [name, compose.services[name]])

// Mail is sent by the role processes.
check(withRole('processes').length > 0, 'no service has the role processes')
for (const [name, service] of withRole('processes')) {
  const ways = names(service.networks).filter((network) => !compose.networks?.[network]?.internal)
  check(ways.length > 0, `service ${name}: sends mails, and has no network that leads outside`)
  for (const setting of ['HOST', 'PORT', 'TLS', 'FROM', 'USER', 'PASSWORD_FILE'])
    check(has(service, `WEIR_MAIL_${setting}`), `service ${name}: sends mails, and WEIR_MAIL_${setting} does not reach it`)
  const password = /\/run\/secrets\/(\w+)/.exec(service.environment?.WEIR_MAIL_PASSWORD_FILE ?? '')?.[1]
  check(secretsOf(service).includes(password), `service ${name}: the password of the mail server is no secret of its`)
}

// Behind a proxy all people would share one rate limit.
for (const [name, service] of withRole('api')) {
  const trusted = service.environment?.WEIR_TRUSTED_PROXIES ?? ''
  check(/^\$\{WEIR_TRUSTED_PROXIES-.+\}$/.test(trusted), `service ${name}: WEIR_TRUSTED_PROXIES names no proxy, or cannot be emptied`)
  const proxy = /-(.+)\}$/.exec(trusted)?.[1]
  const gateways = names(service.networks).flatMap((network) => compose.networks?.[network]?.ipam?.config ?? [])
  check(gateways.some(({ gateway }) => gateway === proxy), `service ${name}: trusts ${proxy}, which is the gateway of none of its networks`)
  // Who reaches the port past the proxy comes from the gateway, too, and would be believed.
  const ports = (service.ports ?? []).filter((port) => String(port).endsWith(':8080'))
  check(ports.every((port) => String(port).startsWith('${WEIR_HTTP_ADDRESS:-127.0.0.1}:')), `service ${name}: 8080 is open to all`)
}
for (const name of ['deploy/nginx.conf', 'deploy/Caddyfile']) {
  const text = read(name)
  check(text.includes('WEIR_TRUSTED_PROXIES='), `${name}: does not say that Weir has to trust it`)
  check(/X-Request-Id/.test(text), `${name}: passes on the request ids that clients make up`)
}
check(/X-Forwarded-For/.test(read('deploy/nginx.conf')), 'deploy/nginx.conf: does not say where people come from')
const taken = /^\s*client_max_body_size\s+(\d+)m;/m.exec(read('deploy/nginx.conf'))?.[1] ?? 1
check(Number(taken) > 8, 'deploy/nginx.conf: refuses pictures that Weir takes (8 MiB)')

// Whoever talks to NATS can end streams.
const servers = Object.entries(compose.services ?? {}).filter(([, { image }]) => /(^|\/)nats:/.test(image ?? ''))
check(servers.length === 1, `${servers.length} services run NATS, not one`)
for (const [name, service] of servers) {
  const config = (service.volumes ?? []).map(String).find((volume) => /\.conf:/.test(volume))?.split(':')[0]
  check(config, `service ${name}: has no file of settings`)
  const block = /authorization\s*\{[^}]*\}/.exec(config ? read(config).replace(/#.*/g, '') : '')?.[0] ?? ''
  check(/user:\s*weir\b/.test(block) && /password:\s*\$NATS_PASSWORD/.test(block), `service ${name}: asks for no password`)
  check(secretsOf(service).includes('nats_password'), `service ${name}: its password is no secret of its`)
  const started = [service.command ?? []].flat().join('\n')
  const isHandedOn = /^NATS_PASSWORD=.*\/run\/secrets\/nats_password\b[^]*^export NATS_PASSWORD$[^]*^exec nats-server\b/m.test(started)
  check(isHandedOn, `service ${name}: its command does not hand the password on`)
}
for (const [name, service] of Object.entries(compose.services ?? {})) {
  if (!has(service, 'WEIR_NATS_URL')) continue
  const host = /^\w+:\/\/([^:/]+)/.exec(service.environment.WEIR_NATS_URL)?.[1]
  check(servers.some(([server]) => server === host), `service ${name}: looks for NATS at ${host}, where there is none`)
  const file = '/run/secrets/nats_password'
  check(service.environment.WEIR_NATS_PASSWORD_FILE === file, `service ${name}: does not know the password of NATS`)
  check(secretsOf(service).includes('nats_password'), `service ${name}: the password of NATS is no secret of its`)
}
for (const name of Object.keys(compose.secrets ?? {})) {
  const made = read('deploy/make-secrets')
  check(new RegExp(`\\b${name}\\b`).test(made), `secret ${name}: deploy/make-secrets does not make it`)
}

if (problems.length > 0) {
  for (const problem of problems) console.error(`${file}: ${problem}`)
  process.exit(1)
}
