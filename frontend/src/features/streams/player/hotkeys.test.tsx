import { fireEvent, render } from '@testing-library/react'
import { useRef } from 'react'
import { describe, expect, it, vi } from 'vitest'
import { usePlayerKeys, type PlayerKeys } from './hotkeys'

function Page({ keys }: { keys: PlayerKeys }) {
  const player = useRef<HTMLDivElement>(null)
  usePlayerKeys(player, keys, true)
  return (
    <>
      <div ref={player}>
        <button type="button">inside</button>
      </div>
      <input aria-label="typing" />
      <button type="button">outside</button>
    </>
  )
}

function keysOf() {
  return {
    togglePlay: vi.fn(),
    toggleMute: vi.fn(),
    toggleFullscreen: vi.fn(),
    toggleTheatre: vi.fn(),
    togglePictureInPicture: vi.fn(),
    toggleFigures: vi.fn(),
    seekBy: vi.fn(),
    changeVolume: vi.fn(),
  }
}

describe('keys of the player', () => {
  it('work on the whole page', () => {
    const keys = keysOf()
    render(<Page keys={keys} />)
    for (const key of [' ', 'k', 'm', 'f', 't', 'i', 's']) fireEvent.keyDown(document.body, { key })
    expect(keys.togglePlay).toHaveBeenCalledTimes(2)
    expect(keys.toggleMute).toHaveBeenCalledOnce()
    expect(keys.toggleFullscreen).toHaveBeenCalledOnce()
    expect(keys.toggleTheatre).toHaveBeenCalledOnce()
    expect(keys.togglePictureInPicture).toHaveBeenCalledOnce()
    expect(keys.toggleFigures).toHaveBeenCalledOnce()
  })

  it('leave alone what belongs to fields, buttons, scrolling and the browser', () => {
    const keys = keysOf()
    const { getByLabelText, getByText } = render(<Page keys={keys} />)
    fireEvent.keyDown(getByLabelText('typing'), { key: 'm' })
    fireEvent.keyDown(getByText('outside'), { key: ' ' })
    fireEvent.keyDown(document.body, { key: 'f', ctrlKey: true })
    fireEvent.keyDown(document.body, { key: 'ArrowUp' })
    for (const act of Object.values(keys)) expect(act).not.toHaveBeenCalled()
  })

  it('seek and change the volume while the player has the focus', () => {
    const keys = keysOf()
    const { getByText } = render(<Page keys={keys} />)
    for (const key of ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'])
      fireEvent.keyDown(getByText('inside'), { key })
    expect(keys.seekBy.mock.calls).toEqual([[-5], [5]])
    expect(keys.changeVolume.mock.calls).toEqual([[0.05], [-0.05]])
  })
})
