// Every relative link in the documents leads to a file that is committed or about to be.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { encoding: 'utf8' })
const dead = []
for (const file of files.trim().split('\n').filter(existsSync)) {
  for (const [, link] of readFileSync(file, 'utf8').matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link) || link.startsWith('#')) continue
    if (!existsSync(join(dirname(file), link.split('#')[0]))) dead.push(`${file}: ${link} leads nowhere`)
  }
}
if (dead.length > 0) {
  console.error(dead.join('\n'))
  process.exit(1)
}
