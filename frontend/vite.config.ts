import { fileURLToPath } from 'node:url'
import babel from '@rolldown/plugin-babel'
import { lingui } from '@lingui/vite-plugin'
import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { compress } from './build/compress.ts'
import { preloads } from './build/preloads.ts'

const server = process.env.WEIR_URL ?? 'http://127.0.0.1:8080'
const proxy = Object.fromEntries(
  ['/api', '/live', '/vod', '/media', '/healthz', '/docs'].map((path) => [
    path,
    { target: server, changeOrigin: false },
  ]),
)

/** The policy under which the binary serves the page, so that a preview fails where the product would. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "media-src 'self' blob:",
  "worker-src 'self'",
  "manifest-src 'self'",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

export default defineConfig({
  plugins: [
    babel({ plugins: ['@lingui/babel-plugin-lingui-macro'], parserOpts: { plugins: ['jsx', 'typescript'] } }),
    react(),
    lingui(),
    tailwindcss(),
    preloads(),
    compress(),
  ],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  build: {
    target: 'es2022',
    // The policy of the page allows no data: fonts, and small files are cheap over one connection.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        // What changes seldom keeps its name from release to release. The rest splits itself by page.
        codeSplitting: {
          groups: [
            {
              name: 'framework',
              test: /node_modules[\\/](react|react-dom|scheduler|@tanstack|@lingui|openapi-[a-z-]+|use-sync-external-store)[\\/]/,
              priority: 3,
            },
            // What every page has, in one piece: some thirty small ones wait for each other where there is no HTTP/2.
            { name: 'frame', test: /[\\/]src[\\/]app[\\/]/, priority: 2 },
            // The same for what several pages have: icons, the small components, and what pages show of channels and streams. `rules`
            // would bring all that checks forms.
            {
              name: 'parts',
              test: /[\\/](src[\\/](ui|api|features[\\/](streams|recordings|reports|channels|ingest)[\\/](?!rules)[^\\/]+$)|node_modules[\\/]lucide-react[\\/])/,
              minShareCount: 2,
              priority: 1,
            },
            { name: 'hls', test: /node_modules[\\/]hls\.js[\\/]/, priority: 2 },
            { name: 'forms', test: /node_modules[\\/](zod|react-hook-form|@hookform)[\\/]/, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy },
  preview: { proxy, headers: { 'content-security-policy': policy } },
  test: {
    environment: 'happy-dom',
    environmentOptions: { happyDOM: { url: 'http://weir.test/' } },
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test/setup.ts'],
    // For what never comes; a busy machine takes its time. Less than half of it is what `setup.ts` waits for a single thing.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 60_000,
    restoreMocks: true,
    unstubGlobals: true,
  },
})
