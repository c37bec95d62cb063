import { Trans, useLingui } from '@lingui/react/macro'
import { Link, useNavigate } from '@tanstack/react-router'
import { ChevronDown, LayoutDashboard, LogOut, Plus, Settings } from 'lucide-react'
import { toast } from 'sonner'
import { Avatar } from '@/ui/avatar'
import { ButtonLook } from '@/ui/button'
import { Menu, MenuContent, MenuItem, MenuSeparator, MenuTrigger } from '@/ui/menu'
import { Skeleton } from '@/ui/skeleton'
import { session, useSession } from './session'

export function AccountMenu() {
  const { t } = useLingui()
  const state = useSession()
  const navigate = useNavigate()

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
          <Avatar name={username} className="size-8 text-sm" />
          <ChevronDown aria-hidden className="size-4 text-faint" />
        </MenuTrigger>
        <MenuContent>
          <div className="px-3 py-2">
            <p className="font-semibold text-text">{username}</p>
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
            <Link to="/settings">
              <Settings aria-hidden />
              <Trans>Settings</Trans>
            </Link>
          </MenuItem>
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
