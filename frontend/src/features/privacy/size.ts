const units = ['kilobyte', 'megabyte', 'gigabyte'] as const

/** "45 kB", in the language given. */
export function formatSize(bytes: number, locale: string): string {
  let value = bytes / 1000
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = value < 10 ? 1 : 0
  return new Intl.NumberFormat(locale, {
    style: 'unit',
    unit: units[unit] ?? 'kilobyte',
    maximumFractionDigits: digits,
  }).format(value)
}
