//! Suspension: an account that nobody may sign in to, until an administrator lifts it or its time is over. It is over by its
//! time alone: no event says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::AccountEvent;
use crate::{Invalid, ids::AccountId, invalid, sealed::Sealed, timestamp};

/// Why an account is suspended, for its owner to read: 1 to 500 characters, on one line or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspensionReason(String);

impl SuspensionReason {
    /// A reason as typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::text("reason", text, (1, 500), true).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an account can be told about its suspension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuspensionCommand {
    /// Keep its owner out; once more with another reason or end is fine, and the last one counts.
    Suspend {
        /// The administrator who does it; `None` for Weir itself.
        by: Option<AccountId>,
        /// Why, sealed under the key of the account that is suspended.
        reason: Sealed,
        /// When it is over by itself; `None` for not before it is lifted.
        until: Option<OffsetDateTime>,
    },
    /// The same, but one that holds at least as long stays as it is: for what was decided before, perhaps by somebody who did not
    /// know of it.
    SuspendAtLeast {
        /// The administrator who does it.
        by: AccountId,
        /// Why, sealed under the key of the account that is suspended.
        reason: Sealed,
        /// When it is over by itself; `None` for not before it is lifted.
        until: Option<OffsetDateTime>,
    },
    /// Let its owner in again; that it is not suspended, or not any more, is fine.
    Reinstate {
        /// The administrator who does it; `None` for Weir itself.
        by: Option<AccountId>,
    },
}

/// What `account.suspended` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountSuspended {
    /// The account.
    pub account_id: AccountId,
    /// The administrator who did it; `null` for Weir itself.
    pub by: Option<AccountId>,
    /// Why, sealed under the key of the account.
    pub reason: Sealed,
    /// When it is over by itself, without another event; `null` for not before it is lifted.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(schema_with = "timestamp::optional_schema")]
    pub until: Option<OffsetDateTime>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(schema_with = "timestamp::schema")]
    pub suspended_at: OffsetDateTime,
}

/// What `account.reinstated` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountReinstated {
    /// The account.
    pub account_id: AccountId,
    /// The administrator who did it; `null` for Weir itself.
    pub by: Option<AccountId>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(schema_with = "timestamp::schema")]
    pub reinstated_at: OffsetDateTime,
}

/// Why an account is not suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SuspensionRefusal {
    /// It is the account of who asks.
    #[error("nobody can suspend their own account")]
    OwnAccount,
    /// Nobody could administer the platform any more.
    #[error("the last administrator cannot be suspended")]
    LastAdministrator,
    /// It would be over before it begins.
    #[error("the end of the suspension lies in the past")]
    AlreadyOver,
}

/// A suspension that holds, or has held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Why, sealed under the key of the account.
    pub reason: Sealed,
    /// Since when.
    pub since: OffsetDateTime,
    /// When it is over by itself; `None` for not before it is lifted.
    pub until: Option<OffsetDateTime>,
}

impl Suspension {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: OffsetDateTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it is over at `until` at the earliest; without an end it is over last.
    fn lasts_until(&self, until: Option<OffsetDateTime>) -> bool {
        self.until.is_none_or(|own| until.is_some_and(|until| until <= own))
    }
}

/// Whether a suspension by `by` may begin at `now`.
pub(super) fn may_begin(
    account_id: AccountId,
    by: Option<AccountId>,
    until: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<(), SuspensionRefusal> {
    if by == Some(account_id) {
        return Err(SuspensionRefusal::OwnAccount);
    }
    if until.is_some_and(|until| until <= now) {
        return Err(SuspensionRefusal::AlreadyOver);
    }
    Ok(())
}

/// What `command` leads to for an account that exists.
pub(super) fn decide(
    account_id: AccountId,
    current: Option<&Suspension>,
    command: SuspensionCommand,
    now: OffsetDateTime,
) -> Result<Vec<AccountEvent>, SuspensionRefusal> {
    let suspend = |by, reason, until: Option<OffsetDateTime>| {
        let until = until.map(timestamp::cut);
        AccountEvent::Suspended(AccountSuspended { account_id, by, reason, until, suspended_at: now })
    };
    match command {
        SuspensionCommand::Suspend { by, reason, until } => {
            may_begin(account_id, by, until, now)?;
            Ok(vec![suspend(by, reason, until)])
        }
        SuspensionCommand::SuspendAtLeast { by, reason, until } => {
            may_begin(account_id, Some(by), until, now)?;
            let until = until.map(timestamp::cut);
            let is_longer = current.is_some_and(|current| current.holds(now) && current.lasts_until(until));
            Ok(if is_longer { Vec::new() } else { vec![suspend(Some(by), reason, until)] })
        }
        SuspensionCommand::Reinstate { .. } if !current.is_some_and(|current| current.holds(now)) => Ok(Vec::new()),
        SuspensionCommand::Reinstate { by } => {
            Ok(vec![AccountEvent::Reinstated(AccountReinstated { account_id, by, reinstated_at: now })])
        }
    }
}

/// What an account's suspension is after `event`.
pub(super) fn apply(suspension: &mut Option<Suspension>, event: &AccountEvent) {
    match event {
        AccountEvent::Suspended(AccountSuspended { reason, until, suspended_at, .. }) => {
            *suspension = Some(Suspension { reason: reason.clone(), since: *suspended_at, until: *until });
        }
        AccountEvent::Reinstated(_) => *suspension = None,
        _ => {}
    }
}
