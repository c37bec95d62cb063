import { createElement, useEffect, useState, type ComponentType, type ReactNode } from 'react'

interface Late<Props> {
  (props: Props & { fallback: ReactNode }): ReactNode
  /** Has its code fetched before it is shown. */
  load: () => Promise<ComponentType<Props>>
}

/**
 * A component whose code is fetched when it is wanted; until then its `fallback` is shown.
 *
 * Not `lazy` in a `Suspense`: React holds back for 0.3 s what takes the place of a fallback, lest pages flicker. Where the code
 * is there after some milliseconds, as it is where it was asked for early, a player would begin so much later.
 */
export function late<Props extends object>(fetchCode: () => Promise<ComponentType<Props>>): Late<Props> {
  let code: ComponentType<Props> | null = null
  const load = async () => {
    code ??= await fetchCode()
    return code
  }
  function LateComponent({ fallback, ...props }: Props & { fallback: ReactNode }): ReactNode {
    const [shown, setShown] = useState(() => code)
    const [fault, setFault] = useState<{ cause: unknown } | null>(null)
    useEffect(() => {
      if (shown !== null) return
      let isGone = false
      load().then(
        (loaded) => !isGone && setShown(() => loaded),
        (cause: unknown) => !isGone && setFault({ cause }),
      )
      return () => {
        isGone = true
      }
    }, [shown])
    // For the page that says what has failed.
    if (fault !== null) throw fault.cause
    return shown === null ? fallback : createElement(shown, props as unknown as Props)
  }
  return Object.assign(LateComponent, { load })
}
