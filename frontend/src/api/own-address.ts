/**
 * The address of media as seen from this page. The server writes addresses with its public name;
 * the page may have been opened under another, whose policy allows its own origin alone.
 */
export function ownAddress(url: string): string {
  const { pathname, search } = new URL(url, globalThis.location.origin)
  return pathname + search
}

export function ownAddressOrNull(url: string | null): string | null {
  return url === null ? null : ownAddress(url)
}
