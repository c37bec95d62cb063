/**
 * Gives each content its key, and the same content the same one for as long as it is the last: sent
 * twice, after a lost answer say, it is one command.
 */
export function createKeyring(): (content: string) => string {
  let last = { content: '', key: '' }
  return (content) => {
    if (last.content !== content) last = { content, key: randomKey() }
    return last.key
  }
}

/** A key that no other command has. `crypto.randomUUID` exists on secure origins only. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
