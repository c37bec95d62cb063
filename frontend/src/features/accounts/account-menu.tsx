import { Trans, useLingui } from '@lingui/react/macro'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { ChevronDown, LayoutDashboard, LogOut, Plus, Settings, UserRound, ShieldCheck } from 'lucide-react'
import { toast } from 'sonner'
import { Avatar } from '@/ui/avatar'
import { ButtonLook } from '@/ui/button'
import { Menu, MenuContent, MenuItem, MenuSeparator, MenuTrigger } from '@/ui/menu'
import { Skeleton } from '@/ui/skeleton'
import { profileQuery } from './profile-queries'
import { session, useSession } from './session'

export function AccountMenu() {
  const { t } = useLingui()
  const state = useSession()
  const navigate = useNavigate()
  const profile = useQuery({ ...profileQuery, enabled: state.status === 'signed-in' })

  if (state.status === 'unknown') return <Skeleton className="h-9 w-24" />
  if (state.status === 'signed-out') {
    return (
      <>
        <ButtonLook kind="bare">
          <Link to="/sign-in">
            <Trans>Sign in</Trans>
          </Link>
        </ButtonLook>
        <ButtonLook kind="primary" className="max-[26rem]:hidden">
          <Link to="/register">
            <Trans>Register</Trans>
          </Link>
        </ButtonLook>
      </>
    )
  }

  const { username } = state.account
  // Of whoever was signed in before, nothing is shown.
  const own = profile.data?.username === username ? profile.data : undefined
  const shownName = own?.display_name ?? username
  async function signOut() {
    try {
      await session.signOut()
      await navigate({ to: '/' })
    } catch {
      toast.warning(
        t`Signed out here, but Weir could not be told. Sign in again to end the session for good.`,
      )
    }
  }

  return (
    <>
      <ButtonLook kind="bare" className="max-sm:hidden">
        <Link to="/dashboard">
          <Trans>Dashboard</Trans>
        </Link>
      </ButtonLook>
      <Menu>
        <MenuTrigger
          aria-label={t`Account ${username}`}
          className="flex h-10 items-center gap-2 rounded-sm px-1.5 transition-colors hover:bg-raised-high"
        >
          <Avatar name={shownName} src={own?.avatar?.small_url} className="size-8 text-sm" />
          <ChevronDown aria-hidden className="size-4 text-faint" />
        </MenuTrigger>
        <MenuContent>
          <div className="px-3 py-2">
            <p className="max-w-60 truncate font-semibold text-text">{shownName}</p>
            {shownName !== username && <p className="text-xs text-faint">{username}</p>}
            {state.account.is_administrator && (
              <p className="text-xs text-faint">
                <Trans>Administrator</Trans>
              </p>
            )}
          </div>
          <MenuSeparator />
          <MenuItem asChild>
            <Link to="/dashboard">
              <LayoutDashboard aria-hidden />
              <Trans>Dashboard</Trans>
            </Link>
          </MenuItem>
          <MenuItem asChild>
            <Link to="/new-channel">
              <Plus aria-hidden />
              <Trans>Create a channel</Trans>
            </Link>
          </MenuItem>
          <MenuItem asChild>
            <Link to="/accounts/$username" params={{ username }}>
              <UserRound aria-hidden />
              <Trans>Your page</Trans>
            </Link>
          </MenuItem>
          <MenuItem asChild>
            <Link to="/settings">
              <Settings aria-hidden />
              <Trans>Settings</Trans>
            </Link>
          </MenuItem>
          {state.account.is_administrator && (
            <MenuItem asChild>
              <Link to="/admin">
                <ShieldCheck aria-hidden />
                <Trans>Administration</Trans>
              </Link>
            </MenuItem>
          )}
          <MenuSeparator />
          <MenuItem onSelect={() => void signOut()}>
            <LogOut aria-hidden />
            <Trans>Sign out</Trans>
          </MenuItem>
        </MenuContent>
      </Menu>
    </>
  )
}
