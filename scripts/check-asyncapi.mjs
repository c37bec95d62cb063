// Holds the AsyncAPI document against the official JSON Schema of its version, and follows its references.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(new URL('../frontend/package.json', import.meta.url))
const { parse } = require('yaml')
const Ajv = require('ajv').default

const file = process.argv[2]
const document = parse(readFileSync(file, 'utf8'), { strict: true, uniqueKeys: true })
const schema = require(`@asyncapi/specs/schemas/${document.asyncapi}-without-$id.json`)
const validate = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(schema)
const problems = validate(document)
  ? []
  : validate.errors.map(({ instancePath, message }) => `${instancePath}: ${message}`)

const target = (reference) =>
  reference
    .replace(/^#\//, '')
    .split('/')
    .reduce((value, key) => value?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], document)

function follow(value, path) {
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    if (key === '$ref' && typeof inner === 'string' && target(inner) === undefined) {
      problems.push(`${path}: ${inner} leads nowhere`)
    }
    follow(inner, `${path}/${key}`)
  }
}
follow(document, '')

for (const problem of problems) console.error(`${file}: ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1
