//! Which events are about the safety of an account, and what of them is shown. To add one: a line in [`KINDS`] and an arm in
//! [`entry`]; the web app has the words for it in `frontend/src/features/audit/words.ts`.

use std::collections::HashMap;

use domain::{
    DomainEvent,
    accounts::{
        AccountEvent, AccountReinstated, AccountSuspended, AdministratorGranted, AdministratorRevoked, EmailEvent,
        PersonalExportEvent, PersonalTokenEvent, SessionEvent, SignInEvent,
    },
    channels::ChannelEvent,
    exports::ExportEvent,
    ids::{AccountId, ChannelId},
    registrations::{InstallEvent, RegistrationInviteEvent},
    reports::ReportEvent,
    sealed::Sealed,
};
use serde::Serialize;

/// The stored names of all events that are shown.
pub const KINDS: &[&str] = &[
    "account.registered",
    "session.opened",
    "session.ended",
    "sign_in.failed",
    "account.password_changed",
    "account.second_factor_enabled",
    "account.second_factor_disabled",
    "account.recovery_code_used",
    "account.recovery_codes_replaced",
    "password_reset.requested",
    "email.confirmed",
    "email.change_requested",
    "email.changed",
    "channel.role_given",
    "channel.role_taken",
    "channel.stream_key_rotated",
    "install.registration_changed",
    "registration_invite.created",
    "registration_invite.used",
    "registration_invite.given_back",
    "registration_invite.revoked",
    "report.decided",
    "account.suspended",
    "account.reinstated",
    "account.administrator_granted",
    "account.administrator_revoked",
    "personal_token.created",
    "personal_token.revoked",
    "export.requested",
    "personal_export.requested",
    "personal_export.completed",
    "account.erasure_requested",
    "account.erasure_cancelled",
    "account.erased",
];

/// What is shown of an event.
pub(super) struct Entry<'a> {
    /// Whose account it is about.
    pub(super) account_id: AccountId,
    /// Who did it, if the event says; that it was the account itself need not be said.
    pub(super) by: Option<AccountId>,
    /// A word that says why, or what was wrong.
    pub(super) reason: Option<String>,
    /// How often, or how many are left.
    pub(super) count: Option<i64>,
    pub(super) channel_id: Option<ChannelId>,
    pub(super) user_agent: Option<&'a Sealed>,
    pub(super) address: Option<&'a Sealed>,
}

impl Entry<'_> {
    fn of(account_id: AccountId) -> Self {
        Self { account_id, by: None, reason: None, count: None, channel_id: None, user_agent: None, address: None }
    }

    fn because(self, reason: impl Serialize) -> Self {
        Self { reason: word(reason), ..self }
    }

    fn by(self, by: Option<AccountId>) -> Self {
        Self { by, ..self }
    }

    fn about(self, channel_id: ChannelId) -> Self {
        Self { channel_id: Some(channel_id), ..self }
    }

    fn counted(self, count: u32) -> Self {
        Self { count: Some(count.into()), ..self }
    }
}

impl<'a> Entry<'a> {
    fn on(self, user_agent: &'a Sealed, address: &'a Sealed) -> Self {
        Self { user_agent: Some(user_agent), address: Some(address), ..self }
    }
}

/// The word that stands for it in the event.
fn word(reason: impl Serialize) -> Option<String> {
    serde_json::to_value(reason).ok()?.as_str().map(str::to_owned)
}

/// Whose channels are.
pub(super) type Owners = HashMap<ChannelId, AccountId>;

/// What is shown of `event`; `None` for one that is not.
pub(super) fn entry<'a>(event: &'a DomainEvent, owners: &Owners) -> Option<Entry<'a>> {
    Some(match event {
        DomainEvent::Account(event) => account(event),
        DomainEvent::Session(SessionEvent::Opened { account_id, user_agent, address, .. }) => {
            Entry::of(*account_id).on(user_agent, address)
        }
        DomainEvent::Session(SessionEvent::Ended { account_id, reason, .. }) => Entry::of(*account_id).because(reason),
        DomainEvent::SignIn(SignInEvent::Failed { account_id, failure, count, user_agent, address, .. }) => {
            Entry::of(*account_id).because(failure).counted(*count).on(user_agent, address)
        }
        DomainEvent::PersonalToken(PersonalTokenEvent::Created { account_id, .. }) => Entry::of(*account_id),
        DomainEvent::PersonalToken(PersonalTokenEvent::Revoked { account_id, reason, .. }) => {
            Entry::of(*account_id).because(reason)
        }
        DomainEvent::Export(ExportEvent::Requested { by: Some(by), way, .. }) => Entry::of(*by).because(way),
        DomainEvent::PersonalExport(
            PersonalExportEvent::Requested { account_id, .. } | PersonalExportEvent::Completed { account_id, .. },
        ) => Entry::of(*account_id),
        DomainEvent::PasswordReset(event) => Entry::of(event.account_id()),
        DomainEvent::Email(
            event @ (EmailEvent::Confirmed { .. } | EmailEvent::ChangeRequested { .. } | EmailEvent::Changed { .. }),
        ) => Entry::of(event.account_id()),
        DomainEvent::Channel(ChannelEvent::RoleGiven { channel_id, account_id, role, by, .. }) => {
            Entry::of(*account_id).because(role).by(Some(*by)).about(*channel_id)
        }
        DomainEvent::Channel(ChannelEvent::RoleTaken { channel_id, account_id, reason, by, .. }) => {
            Entry::of(*account_id).because(reason).by(*by).about(*channel_id)
        }
        // Only the owner can.
        DomainEvent::Channel(ChannelEvent::StreamKeyRotated { channel_id, .. }) => {
            Entry::of(*owners.get(channel_id)?).about(*channel_id)
        }
        DomainEvent::Install(InstallEvent::RegistrationChanged { mode, by, .. }) => Entry::of(*by).because(mode),
        DomainEvent::RegistrationInvite(RegistrationInviteEvent::Created { by, max_uses, .. }) => {
            Entry::of(*by).counted(*max_uses)
        }
        DomainEvent::RegistrationInvite(RegistrationInviteEvent::Revoked { by, .. }) => Entry::of(*by),
        // Of the account that is to be; it is nobody's where none comes of it.
        DomainEvent::RegistrationInvite(
            RegistrationInviteEvent::Used { account_id, .. } | RegistrationInviteEvent::GivenBack { account_id, .. },
        ) => Entry::of(*account_id),
        DomainEvent::Report(ReportEvent::Decided { by, action, .. }) => Entry::of(*by).because(action),
        _ => return None,
    })
}

fn account(event: &AccountEvent) -> Entry<'_> {
    let of = Entry::of(event.account_id());
    match event {
        AccountEvent::Registered { .. }
        | AccountEvent::SecondFactorEnabled { .. }
        | AccountEvent::SecondFactorDisabled { .. }
        | AccountEvent::RecoveryCodesReplaced { .. }
        | AccountEvent::ErasureRequested { .. } => of,
        AccountEvent::PasswordChanged { reason, .. } => of.because(reason),
        AccountEvent::RecoveryCodeUsed { left, .. } => of.counted(*left),
        AccountEvent::ErasureCancelled { reason, .. } => of.because(reason),
        AccountEvent::Erased { by, .. }
        | AccountEvent::Suspended(AccountSuspended { by, .. })
        | AccountEvent::Reinstated(AccountReinstated { by, .. })
        | AccountEvent::AdministratorGranted(AdministratorGranted { by, .. })
        | AccountEvent::AdministratorRevoked(AdministratorRevoked { by, .. }) => of.by(*by),
    }
}
