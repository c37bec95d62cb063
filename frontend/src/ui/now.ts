import { useSyncExternalStore } from 'react'

const listeners = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined
let second = Math.floor(Date.now() / 1000)

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  second = Math.floor(Date.now() / 1000)
  timer ??= setInterval(() => {
    second = Math.floor(Date.now() / 1000)
    listeners.forEach((tell) => tell())
  }, 1000)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

/** The time in milliseconds, to the second; everything that shows a clock ticks together. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => second) * 1000
}
