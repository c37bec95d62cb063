import { Plural, Trans, useLingui } from '@lingui/react/macro'
import { ShieldAlert, ShieldCheck } from 'lucide-react'
import { Ago } from '@/ui/clock'
import { classes } from '@/ui/classes'
import type { SecurityEvent } from './queries'
import { alarming, kindWords, reasonWords } from './words'

/** Security events, newest first; with the accounts for those who look at all of them. */
export function SecurityEvents({ items, withAccounts }: { items: SecurityEvent[]; withAccounts?: boolean }) {
  return (
    <ul className="flex flex-col divide-y divide-line rounded-lg border">
      {items.map((item) => (
        <Row key={item.id} item={item} withAccount={withAccounts ?? false} />
      ))}
    </ul>
  )
}

function Row({ item, withAccount }: { item: SecurityEvent; withAccount: boolean }) {
  const { t, i18n } = useLingui()
  const { kind, reason, count, channel, browser, system, network, by } = item
  const words = kindWords[kind]
  const why = reason === null ? undefined : reasonWords[kind]?.[reason]
  const isAlarming = alarming.has(kind)
  const device =
    browser !== null && system !== null ? t`${browser} on ${system}` : (browser ?? system ?? undefined)
  const doer = by === null ? '' : (by.username ?? t`somebody who was deleted`)
  const place = [device, network].filter((part) => part !== undefined && part !== null).join(' · ')
  return (
    <li className="flex items-start gap-4 p-4">
      <span
        aria-hidden
        className={classes('mt-0.5 shrink-0 [&>svg]:size-5', isAlarming ? 'text-warning' : 'text-faint')}
      >
        {isAlarming ? <ShieldAlert /> : <ShieldCheck />}
      </span>
      <div className="min-w-0 grow">
        <p className="text-sm font-medium text-text">
          {words === undefined ? kind : i18n._(words)}
          {kind === 'sign_in.failed' && count !== null && count > 1 && (
            <span className="text-soft">
              {' '}
              <Plural value={count} one="(# time)" other="(# times)" />
            </span>
          )}
        </p>
        {withAccount && (
          <p className="mt-0.5 text-sm text-soft">
            {item.account.username ?? <Trans>somebody who was deleted</Trans>}
          </p>
        )}
        {why !== undefined && <p className="mt-0.5 text-xs text-soft">{i18n._(why)}</p>}
        {kind === 'account.recovery_code_used' && count !== null && (
          <p className="mt-0.5 text-xs text-soft">
            <Plural value={count} one="# is left." other="# are left." />
          </p>
        )}
        <p className="mt-0.5 text-xs text-faint">
          <Ago at={item.at} />
          {place !== '' && <> · {place}</>}
          {channel !== null && <> · {channel}</>}
          {by !== null && (
            <>
              {' · '}
              <Trans>by {doer}</Trans>
            </>
          )}
        </p>
      </div>
    </li>
  )
}
