/** Copies to the clipboard. The clipboard interface exists on secure origins only; elsewhere the old way is tried. */
export async function copyText(text: string): Promise<boolean> {
  const clipboard = (navigator as { clipboard?: Clipboard }).clipboard
  if (clipboard !== undefined) {
    try {
      await clipboard.writeText(text)
      return true
    } catch {
      // Refused, or the page lost the focus: the old way may still do.
    }
  }
  const area = document.createElement('textarea')
  area.value = text
  area.setAttribute('readonly', '')
  area.style.position = 'fixed'
  area.style.opacity = '0'
  document.body.append(area)
  area.select()
  try {
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way on a plain http origin
    return document.execCommand('copy')
  } catch {
    return false
  } finally {
    area.remove()
  }
}
