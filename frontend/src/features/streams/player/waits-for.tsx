import { Plural } from '@lingui/react/macro'

const minute = 60

/** How long a stream stays open for an encoder that is lost. */
export function WaitsFor({ seconds }: { seconds: number }) {
  // Whole minutes as such; of longer times the rest does not matter to anybody who waits.
  if (seconds % minute === 0 || seconds > 10 * minute) {
    const minutes = Math.floor(seconds / minute)
    return (
      <Plural
        value={minutes}
        one="The stream stays open for # minute."
        other="The stream stays open for # minutes."
      />
    )
  }
  return (
    <Plural
      value={seconds}
      one="The stream stays open for # second."
      other="The stream stays open for # seconds."
    />
  )
}
