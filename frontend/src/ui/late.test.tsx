import { render, screen } from '@testing-library/react'
import { Component, type ReactNode } from 'react'
import { describe, expect, it, vi } from 'vitest'
import { late } from './late'

function Greeting({ name }: { name: string }) {
  return <p>Hello {name}</p>
}

class Boundary extends Component<{ children: ReactNode }> {
  override state = { message: '' }
  static getDerivedStateFromError(error: Error) {
    return { message: error.message }
  }
  override render() {
    return this.state.message === '' ? this.props.children : <p>{this.state.message}</p>
  }
}

describe('a late component', () => {
  it('shows something else until it is there, and from then on itself at once', async () => {
    const fetchCode = vi.fn(() => Promise.resolve(Greeting))
    const Late = late(fetchCode)
    const { unmount } = render(<Late name="Mira" fallback={<p>Wait</p>} />)
    expect(screen.getByText('Wait')).toBeInTheDocument()
    expect(await screen.findByText('Hello Mira')).toBeInTheDocument()
    unmount()
    render(<Late name="Noor" fallback={<p>Wait</p>} />)
    expect(screen.getByText('Hello Noor')).toBeInTheDocument()
    expect(fetchCode).toHaveBeenCalledTimes(1)
  })

  it('is there at once where it was asked for before', async () => {
    const Late = late(() => Promise.resolve(Greeting))
    await Late.load()
    render(<Late name="Mira" fallback={<p>Wait</p>} />)
    expect(screen.getByText('Hello Mira')).toBeInTheDocument()
  })

  it('fails where the page can say so', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const Late = late<{ name: string }>(() => Promise.reject(new Error('It could not be fetched')))
    render(
      <Boundary>
        <Late name="Mira" fallback={<p>Wait</p>} />
      </Boundary>,
    )
    expect(await screen.findByText('It could not be fetched')).toBeInTheDocument()
  })
})
