import type { MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'

/** What each kind of security event means to a reader; the server's table is projections/src/security_events/kinds.rs. */
export const kindWords: Record<string, MessageDescriptor> = {
  'account.registered': msg`The account was made`,
  'session.opened': msg`Signed in`,
  'session.ended': msg`Signed out`,
  'sign_in.failed': msg`A sign-in failed`,
  'account.password_changed': msg`The password was changed`,
  'account.second_factor_enabled': msg`Two-factor authentication was turned on`,
  'account.second_factor_disabled': msg`Two-factor authentication was turned off`,
  'account.recovery_code_used': msg`A recovery code was used`,
  'account.recovery_codes_replaced': msg`The recovery codes were replaced`,
  'password_reset.requested': msg`A code for a new password was asked for`,
  'email.confirmed': msg`The e-mail address was confirmed`,
  'email.change_requested': msg`Another e-mail address was asked for`,
  'email.changed': msg`The e-mail address was changed`,
  'channel.role_given': msg`A role in a channel was given`,
  'channel.role_taken': msg`A role in a channel was taken`,
  'channel.stream_key_rotated': msg`A stream key was replaced`,
  'install.registration_changed': msg`Who may register was changed`,
  'registration_invite.created': msg`An invite to register was made`,
  'registration_invite.used': msg`The account was made by an invite`,
  'registration_invite.given_back': msg`An invite was used, but no account was made`,
  'registration_invite.revoked': msg`An invite to register was taken back`,
  'report.decided': msg`A report was decided`,
  'account.suspended': msg`The account was suspended`,
  'account.reinstated': msg`The suspension was lifted`,
  'account.administrator_granted': msg`The account became an administrator’s`,
  'account.administrator_revoked': msg`The account is no administrator’s any more`,
  'personal_token.created': msg`A personal token was made`,
  'personal_token.revoked': msg`A personal token was revoked`,
  'export.requested': msg`An export of events was asked for`,
  'personal_export.requested': msg`A copy of all personal data was asked for`,
  'personal_export.completed': msg`A copy of all personal data was made`,
  'account.erasure_requested': msg`Deletion of the account was asked for`,
  'account.erasure_cancelled': msg`Deletion of the account was called off`,
  'account.erased': msg`The account was deleted`,
}

/** What the words beside a kind mean; those that say nothing more are left out. */
export const reasonWords: Record<string, Record<string, MessageDescriptor>> = {
  'session.ended': {
    expired: msg`It was not used for too long.`,
    token_reused: msg`Somebody may have had a copy of this session.`,
    account_erased: msg`The account was deleted.`,
    account_suspended: msg`The account was suspended.`,
    ended_by_owner: msg`It was ended from another device.`,
    password_changed: msg`The password was changed.`,
    erasure_requested: msg`Deletion of the account was asked for.`,
    administrator_revoked: msg`The account is no administrator’s any more.`,
  },
  'report.decided': {
    none: msg`Nothing was done.`,
    take_down: msg`It was taken down.`,
    suspend_account: msg`The account was suspended.`,
  },
  'sign_in.failed': {
    wrong_password: msg`The password was wrong.`,
    wrong_code: msg`The password was right, the code was wrong. If that was not you, change your password.`,
  },
  'account.password_changed': {
    reset: msg`By a code that was sent by e-mail.`,
  },
  'channel.role_given': {
    moderator: msg`Moderator`,
    editor: msg`Editor`,
  },
  'install.registration_changed': {
    open: msg`Everybody`,
    invite: msg`Whoever has an invite`,
    closed: msg`Nobody`,
  },
  'personal_token.revoked': {
    expired: msg`Its time was over.`,
    account_erased: msg`The account was deleted.`,
    account_suspended: msg`The account was suspended.`,
    administrator_revoked: msg`The account is no administrator’s any more.`,
    password_changed: msg`The password was changed.`,
  },
  'account.erasure_cancelled': {
    signed_in: msg`Somebody signed in.`,
    only_administrator: msg`It is an administrator’s.`,
    operator: msg`Whoever runs this server did it.`,
  },
}

/** What deserves a second look. */
export const alarming = new Set([
  'sign_in.failed',
  'account.second_factor_disabled',
  'account.suspended',
  'account.administrator_granted',
  'account.administrator_revoked',
  'account.erasure_requested',
  'email.change_requested',
])
