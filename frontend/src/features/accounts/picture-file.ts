/** The kinds of files that the server takes, as a file field names them. */
export const takenKinds = 'image/jpeg,image/png,image/webp'

/** What the server takes at most, in bytes. */
export const mostBytes = 8 * 1024 * 1024

/** More than this the server does not keep. */
const sidePixels = 512

/**
 * The middle of a photo, as small as it is needed: it is sent in a moment, and where it was taken
 * stays on this device. A file that this browser cannot read is sent as it is, for the server to judge.
 */
export async function madeSmall(file: Blob): Promise<Blob> {
  if (typeof createImageBitmap === 'undefined') return file
  try {
    const photo = await createImageBitmap(file, { imageOrientation: 'from-image' })
    const side = Math.min(photo.width, photo.height)
    const canvas = document.createElement('canvas')
    canvas.width = canvas.height = Math.min(side, sidePixels)
    const context = canvas.getContext('2d')
    if (context === null || side === 0) return file
    context.imageSmoothingQuality = 'high'
    const [x, y] = [(photo.width - side) / 2, (photo.height - side) / 2]
    context.drawImage(photo, x, y, side, side, 0, 0, canvas.width, canvas.height)
    photo.close()
    // What cannot write WebP writes PNG.
    const small = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/webp', 0.92))
    return small ?? file
  } catch {
    return file
  }
}
