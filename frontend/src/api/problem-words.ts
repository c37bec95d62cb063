import type { I18n, MessageDescriptor } from '@lingui/core'
import { msg } from '@lingui/core/macro'
import { ProblemError, type FieldError } from './problem'

const unexpected = msg`Weir gave an answer that this page does not understand. Try again in a moment.`

/** What the codes of problem documents mean to a reader. The server's own words are the fallback. */
const words: Record<string, MessageDescriptor> = {
  unreachable: msg`Weir does not answer. Check your connection and try again.`,
  unexpected_answer: unexpected,
  internal: msg`Something went wrong inside Weir. Try again in a moment.`,
  unauthenticated: msg`You are signed out. Sign in and try again.`,
  session_ended: msg`Your session has ended. Sign in again.`,
  credentials_wrong: msg`Username or password is wrong.`,
  second_factor_required: msg`A code of your authenticator is needed, too.`,
  code_wrong: msg`This code is wrong or was used before. Wait for the next one and try again.`,
  too_many_codes: msg`Too many codes were wrong. Wait a quarter of an hour and try again.`,
  account_suspended: msg`Your account is suspended.`,
  own_account: msg`This is your own account. Another administrator can do that.`,
  last_administrator: msg`Nobody could administer this Weir any more.`,
  not_while_suspended: msg`This account is suspended. Reinstate it first.`,
  not_while_leaving: msg`Its owner has asked for the deletion of this account. They can call that off by signing in.`,
  reauthentication_required: msg`You signed in a while ago. Enter your password to go on.`,
  too_many_channels: msg`You have as many channels as you may have here. Use one of them, or ask whoever runs this Weir for more.`,
  already_reported: msg`You have reported this already, and nobody has decided yet.`,
  already_decided: msg`Somebody has decided otherwise in the meantime. Load the page again.`,
  password_wrong: msg`The password is wrong. Nothing was changed.`,
  second_factor_there: msg`There is an authenticator already. Turn it off before setting up another.`,
  second_factor_missing: msg`There is no authenticator. Set one up first.`,
  second_factor_unknown: msg`That was prepared too long ago. Begin again.`,
  too_many_tokens: msg`You have as many tokens as you may have. Revoke one that you do not need.`,
  mail_code_wrong: msg`This code is wrong, too old, or was used before. Look at the last mail, or ask for another.`,
  too_many_mails: msg`You have asked for as many mails as you can for now. Look for those that were sent, among unwanted mail, too.`,
  email_taken: msg`Another account has confirmed this address. Give this one another, or use that account.`,
  email_confirmed: msg`This address is confirmed already.`,
  email_unchanged: msg`You have this address already.`,
  forbidden: msg`This belongs to someone else.`,
  account_not_found: msg`Nobody has this username. Check how it is written.`,
  owner_needs_no_role: msg`The owner may do everything already. Name somebody else.`,
  team_full: msg`Fifty people have a role already. Remove somebody first.`,
  registration_closed: msg`Nobody can make an account here at the moment.`,
  registration_invite_needed: msg`An account takes an invite here. Ask for a link, and open it.`,
  registration_invite_invalid: msg`This invite is not good any more: it was used up, taken back, or is over. Ask for another.`,
  too_many_registration_invites: msg`There are too many invites. Take one back first.`,
  address_not_allowed: msg`Administrators may be signed in from certain addresses only, and this is none of them. Come from another network, or ask whoever runs this Weir.`,
  not_found: msg`There is nothing here, or not any more.`,
  username_taken: msg`This username is taken. Choose another.`,
  handle_taken: msg`This address is taken. Choose another.`,
  setup_token_invalid: msg`This set-up token is wrong or has been used. Look at what Weir printed when it started.`,
  validation_failed: msg`Some of what you entered cannot be accepted. See the remarks at the fields.`,
  version_stale: msg`Someone changed this in the meantime.`,
  rate_limited: msg`That was too often. Wait a little and try again.`,
  conflict: msg`Someone is changing the same thing right now. Try again.`,
  unavailable: msg`Weir cannot do this at the moment. Try again shortly.`,
  not_ready: msg`Weir is still starting. Try again shortly.`,
  overloaded: msg`Weir has too much to do at the moment. Try again shortly.`,
  outcome_unknown: msg`It is not certain whether this was done. Look before you try again.`,
  request_timeout: msg`That took too long to arrive. Try again.`,
  body_too_large: msg`That is too much at once. Shorten it.`,
  picture_too_large: msg`This file has more than 8 MB. Make the picture smaller and try again.`,
  picture_kind_unsupported: msg`This is no JPEG, PNG or WebP. Choose another file.`,
  picture_dimensions: msg`This picture has too many pixels. Make it smaller and try again.`,
  picture_damaged: msg`This file is damaged. Save the picture anew, or choose another.`,
  recording_not_ready: msg`This video is not ready yet, or there is nothing of it.`,
  recording_not_found: msg`This video is not here, or not any more.`,
  recording_unavailable: msg`This video cannot be read at the moment. Try again shortly.`,
  recording_not_one_file: msg`The stream changed in between, so this video is several files.`,
  invite_not_good: msg`This invite lets nobody in: it was taken back, is over, or was never one.`,
  too_many_invites: msg`This channel has too many invites. Take one back first.`,
  export_under_way: msg`Your data is being put together already. Wait until it is ready.`,
  export_too_soon: msg`You can ask for your data once an hour. The last copy is still there.`,
  only_administrator: msg`You administer this Weir. Have another administrator take that right first; whoever runs the server can delete this account, too.`,
  download_refused: msg`This address does not open the file any more. Load the page again for a new one.`,
  cursor_invalid: msg`The list has changed. Load the page again.`,
}

/** What the codes of single fields mean. */
const fieldWords: Record<string, MessageDescriptor> = {
  missing: msg`Fill this in.`,
  too_short: msg`This is too short.`,
  too_long: msg`This is too long.`,
  format: msg`This does not look right. Check it for a slip.`,
  too_common: msg`This password is on the lists that attackers try first. Choose another.`,
  reserved: msg`This name is kept for Weir’s own pages. Choose another.`,
}

/** Says what went wrong, in the language of the page. */
export function describeProblem(error: unknown, i18n: I18n): string {
  if (!(error instanceof ProblemError)) return i18n._(unexpected)
  const known = words[error.code]
  if (known !== undefined) return i18n._(known)
  return error.detail ?? error.title
}

export function describeFieldError(error: FieldError, i18n: I18n): string {
  const isName = error.pointer === '/username' || error.pointer === '/handle'
  if (error.code === 'characters') {
    return i18n._(
      isName
        ? msg`Only the letters a–z, digits and _ can be used.`
        : msg`There are characters in it that cannot be shown. Leave them out.`,
    )
  }
  const known = fieldWords[error.code] ?? words[error.code]
  return known === undefined ? error.message : i18n._(known)
}
