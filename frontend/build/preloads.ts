import { basename } from 'node:path'
import type { HtmlTagDescriptor, Plugin, Rolldown } from 'vite'

/**
 * Pages whose code the server names in their heads, so that it travels beside that of the frame and not after it. By the
 * names that `api/src/web_app/head.rs` has for them.
 */
const pages: Record<string, string[]> = {
  channel: ['channels/channel-page.tsx', 'streams/player/player.tsx'],
  recording: ['recordings/recording-page.tsx', 'recordings/recording-player.tsx'],
}

type Chunk = Rolldown.OutputChunk & { viteMetadata?: { importedCss: Set<string> } }

/** A chunk and all that it cannot run without. */
function closure(bundle: Rolldown.OutputBundle, names: string[], seen = new Set<string>()): Set<string> {
  for (const name of names) {
    const chunk = bundle[name]
    if (seen.has(name) || chunk?.type !== 'chunk') continue
    seen.add(name)
    closure(bundle, chunk.imports, seen)
  }
  return seen
}

function weight(bundle: Rolldown.OutputBundle, name: string): number {
  const chunk = bundle[name]
  return chunk?.type === 'chunk' ? chunk.code.length : 0
}

function styles(bundle: Rolldown.OutputBundle, chunks: Iterable<string>): Set<string> {
  const found = new Set<string>()
  for (const name of chunks) {
    const chunk = bundle[name] as Chunk | undefined
    for (const style of chunk?.viteMetadata?.importedCss ?? []) found.add(style)
  }
  return found
}

/**
 * Says what a page will need before any of it has run: `preloads.json` has the files of each of {@link pages}, for the
 * server, and a tag in the page itself has the files of each language, for `public/theme.js`.
 */
export function preloads(): Plugin {
  return {
    name: 'weir:preloads',
    apply: 'build',
    enforce: 'post',
    generateBundle(_, bundle) {
      const chunks = Object.values(bundle).filter((output) => output.type === 'chunk')
      const frame = closure(
        bundle,
        chunks.filter(({ isEntry }) => isEntry).map(({ fileName }) => fileName),
      )
      const shown = styles(bundle, frame)
      const listed = Object.entries(pages).map(([page, sources]) => {
        const roots = sources.map((source) => {
          const root = chunks.find(({ facadeModuleId }) =>
            facadeModuleId?.endsWith(`/src/features/${source}`),
          )
          if (root === undefined) throw new Error(`no chunk is made of ${source}: build/preloads.ts names it`)
          return root.fileName
        })
        const needed = closure(bundle, roots)
        // The largest first: over HTTP/1.1 six are fetched at a time.
        const scripts = [...needed]
          .filter((name) => !frame.has(name))
          .sort((a, b) => weight(bundle, b) - weight(bundle, a))
        const sheets = [...styles(bundle, needed)].filter((name) => !shown.has(name))
        return [page, { scripts, styles: sheets }]
      })
      this.emitFile({
        type: 'asset',
        fileName: 'preloads.json',
        source: JSON.stringify(Object.fromEntries(listed)),
      })
    },
    transformIndexHtml: {
      order: 'post',
      handler(_, { bundle }): HtmlTagDescriptor[] {
        const languages = Object.values(bundle ?? {}).flatMap((output) => {
          const source = output.type === 'chunk' ? output.facadeModuleId : null
          return source?.endsWith('.po') === true ? [`${basename(source, '.po')}=/${output.fileName}`] : []
        })
        return [
          {
            tag: 'meta',
            attrs: { name: 'weir:languages', content: languages.sort().join(' ') },
            injectTo: 'head-prepend',
          },
        ]
      },
    },
  }
}
