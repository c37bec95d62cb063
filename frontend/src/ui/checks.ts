import { config, z } from 'zod'

// Zod would otherwise try to compile its checks, which the page's policy reports as a violation.
config({ jitless: true })

export { z }
