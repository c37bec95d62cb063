import { screen, waitFor, within } from '@testing-library/react'
import { HttpResponse } from 'msw'
import { describe, expect, it } from 'vitest'
import { answer, answerBy, refuse } from '@/test/api'
import { account, channelOf, recordingSettingsOf, waiting } from '@/test/fixtures'
import { expectAccessible, visit } from '@/test/render'
import type { Channel, TeamMember } from './queries'

function memberOf(username: string, changes: Partial<TeamMember> = {}): TeamMember {
  return {
    account: { id: username, username },
    role: 'moderator',
    given_at: '2026-11-20T10:00:00Z',
    ...changes,
  }
}

function serve(standing: Channel['standing'], ...items: TeamMember[]) {
  const owner =
    standing === 'owner' ? channelOf().owner : { ...channelOf().owner, id: 'another', username: 'noor' }
  answer('get', 'channels/marina', channelOf({ standing, owner }))
  answer('get', 'channels/marina/team', { items })
}

describe('the team of one’s channel', () => {
  it('is empty at first, takes somebody by username, and lets go of them', async () => {
    serve('owner')
    const said: unknown[] = []
    answerBy('put', 'channels/marina/team/noor', async (request) => {
      said.push(await request.json())
      answer('get', 'channels/marina/team', { items: [memberOf('noor', { role: 'editor' })] })
      return HttpResponse.json(memberOf('noor', { role: 'editor' }))
    })
    answerBy('delete', 'channels/marina/team/noor', () => {
      answer('get', 'channels/marina/team', { items: [] })
      return new HttpResponse(null, { status: 204 })
    })
    const { user } = visit('/dashboard/marina/team', 'member')
    expect(await screen.findByText('Nobody has a role here yet')).toBeInTheDocument()
    await expectAccessible()
    await user.type(screen.getByLabelText('Username'), 'noor')
    await user.click(screen.getByRole('radio', { name: /Editor/ }))
    await user.click(screen.getByRole('button', { name: 'Add to the team' }))
    const role = await screen.findByRole('combobox', { name: 'Role of noor' })
    expect(said).toEqual([{ role: 'editor' }])
    expect(role).toHaveValue('editor')
    expect(screen.getByLabelText('Username')).toHaveValue('')
    await expectAccessible()
    await user.selectOptions(role, 'Moderator')
    await waitFor(() => expect(said).toEqual([{ role: 'editor' }, { role: 'moderator' }]))
    await user.click(screen.getByRole('button', { name: 'Remove noor' }))
    const question = await screen.findByRole('dialog')
    await user.click(within(question).getByRole('button', { name: 'Remove' }))
    expect(await screen.findByText('Nobody has a role here yet')).toBeInTheDocument()
  })

  it('says at the field that nobody has the username', async () => {
    serve('owner')
    refuse('put', 'channels/marina/team/nobody', 404, 'account_not_found')
    const { user } = visit('/dashboard/marina/team', 'member')
    await user.type(await screen.findByLabelText('Username'), 'nobody')
    await user.click(screen.getByRole('button', { name: 'Add to the team' }))
    expect(await screen.findByText(/Nobody has this username/)).toBeInTheDocument()
    expect(screen.getByLabelText('Username')).toBeInvalid()
  })
})

describe('the team of somebody else’s channel', () => {
  it('can be seen and left by who is in it, and not changed', async () => {
    const me = memberOf('marina', { account: { id: account.id, username: account.username } })
    serve('moderator', me, memberOf('zoe', { role: 'editor' }))
    let left = false
    answerBy('delete', 'channels/marina/team/marina', () => {
      left = true
      return new HttpResponse(null, { status: 204 })
    })
    const { user, router } = visit('/dashboard/marina/team', 'member')
    expect(await screen.findByText('zoe')).toBeInTheDocument()
    expect(screen.queryByLabelText('Username')).toBeNull()
    expect(screen.queryByRole('combobox')).toBeNull()
    expect(screen.queryByRole('button', { name: /zoe/ })).toBeNull()
    await expectAccessible()
    await user.click(screen.getByRole('button', { name: 'Leave' }))
    const question = await screen.findByRole('dialog', { name: 'Leave the team?' })
    await user.click(within(question).getByRole('button', { name: 'Leave' }))
    await waitFor(() => expect(router.state.location.pathname).toBe('/dashboard'))
    expect(left).toBe(true)
  })
})

describe('the dashboard', () => {
  function dashboard(standing: Channel['standing']) {
    serve(standing)
    answer('get', 'channels/marina/ingest', waiting)
    answer('get', 'channels/marina/recording-settings', recordingSettingsOf(true))
    return visit('/dashboard/marina', 'member')
  }

  it('shows an editor the texts and videos, and not the key', async () => {
    dashboard('editor')
    expect((await screen.findAllByLabelText('Title')).length).toBeGreaterThan(0)
    expect(await screen.findByRole('switch', { name: 'Record streams' })).toBeInTheDocument()
    expect(screen.queryByText('Go live')).toBeNull()
    expect(screen.queryByRole('group', { name: 'Who may watch' })).toBeNull()
    expect(screen.queryByRole('button', { name: 'Make an invite' })).toBeNull()
    expect(screen.getByText('Editor')).toBeInTheDocument()
    await expectAccessible()
  })

  it('shows a moderator how the stream arrives, and a stranger nothing', async () => {
    const first = dashboard('moderator')
    expect(await screen.findByTestId('ingest-state')).toBeInTheDocument()
    expect(screen.queryByLabelText('Title')).toBeNull()
    expect(screen.getByRole('link', { name: 'Team' })).toHaveAttribute('href', '/dashboard/marina/team')
    await expectAccessible()
    first.unmount()
    dashboard(null)
    expect(await screen.findByText('This dashboard belongs to noor')).toBeInTheDocument()
  })
})
