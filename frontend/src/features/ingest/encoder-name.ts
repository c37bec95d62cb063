/** An encoder as people call it, from what it says of itself (`obs-output module (libobs version 30.2.3)`). */
export function encoderName(said: string): string {
  const obs = /libobs version (\d+(?:\.\d+){0,2})/.exec(said)?.[1]
  if (obs !== undefined) return `OBS ${obs}`
  return said.startsWith('Lavf') ? `ffmpeg (${said})` : said
}
