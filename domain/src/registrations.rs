//! Registration: who may make an account, and the invites for it. Administrators say both.
//!
//! The link of an invite is in no event: whoever has the keys of the install can make it of the invite's id, and nobody else.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Aggregate, Claimed, Event, Principal,
    ids::{AccountId, RegistrationInviteId},
    timestamp,
};

/// How many accounts an invite may be for at most.
pub const MOST_USES: u32 = 1_000;

/// Who may make an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Everybody.
    #[default]
    Open,
    /// Whoever has an invite.
    Invite,
    /// Nobody.
    Closed,
}

/// What the install can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallCommand {
    /// Let others make accounts than before; again is fine.
    ChangeRegistration {
        /// Who asks.
        by: Principal,
        /// Who may from now on.
        mode: RegistrationMode,
    },
}

/// What can have happened to the install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstallEvent {
    /// Others may make an account than before.
    RegistrationChanged {
        /// Who may from now on.
        mode: RegistrationMode,
        /// The administrator who said so.
        by: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
}

impl InstallEvent {
    /// The stored names of all events of the install.
    pub const TYPES: &[&'static str] = &["install.registration_changed"];
}

impl Event for InstallEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::RegistrationChanged { .. } => "install.registration_changed",
        }
    }
}

/// Why the install says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InstallRefusal {
    /// Only administrators may.
    #[error("only administrators may do this")]
    NotAdministrator,
}

/// What administrators have said of the whole install. There is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    registration: RegistrationMode,
}

impl Install {
    /// Who may make an account.
    #[must_use]
    pub fn registration(&self) -> RegistrationMode {
        self.registration
    }
}

impl Aggregate for Install {
    const TYPE: &'static str = "install";
    type Command = InstallCommand;
    type Event = InstallEvent;
    type Refusal = InstallRefusal;

    fn decide(&self, command: InstallCommand, now: OffsetDateTime) -> Result<Vec<InstallEvent>, InstallRefusal> {
        match command {
            InstallCommand::ChangeRegistration { by, .. } if !by.is_administrator => {
                Err(InstallRefusal::NotAdministrator)
            }
            InstallCommand::ChangeRegistration { mode, .. } if mode == self.registration => Ok(Vec::new()),
            InstallCommand::ChangeRegistration { by, mode } => {
                Ok(vec![InstallEvent::RegistrationChanged { mode, by: by.account_id, changed_at: now }])
            }
        }
    }

    fn apply(&mut self, event: &InstallEvent) {
        match event {
            InstallEvent::RegistrationChanged { mode, .. } => self.registration = *mode,
        }
    }

    fn claimed(_: Claimed) -> InstallRefusal {
        InstallRefusal::NotAdministrator
    }
}

/// What a registration invite can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationInviteCommand {
    /// Make it.
    Create {
        /// The new invite.
        invite_id: RegistrationInviteId,
        /// Who asks.
        by: Principal,
        /// How many accounts it is for, 1 to [`MOST_USES`].
        max_uses: u32,
        /// When it ends by itself; `None` for never.
        expires_at: Option<OffsetDateTime>,
    },
    /// Let an account be made; again for the same account is fine.
    Use {
        /// The account to be.
        account_id: AccountId,
    },
    /// Undo a use that led to no account; again is fine.
    GiveBack {
        /// The account that did not come to be.
        account_id: AccountId,
    },
    /// Take it back; again is fine.
    Revoke {
        /// Who asks.
        by: Principal,
    },
}

/// What can have happened to a registration invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegistrationInviteEvent {
    /// There is a new link by which accounts can be made.
    Created {
        /// The invite.
        invite_id: RegistrationInviteId,
        /// The administrator who made it.
        by: AccountId,
        /// How many accounts it is for.
        max_uses: u32,
        /// When it ends by itself; `null` for never.
        #[serde(with = "time::serde::rfc3339::option")]
        #[schemars(schema_with = "timestamp::optional_schema")]
        expires_at: Option<OffsetDateTime>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        created_at: OffsetDateTime,
    },
    /// Somebody makes an account by it.
    Used {
        /// The invite.
        invite_id: RegistrationInviteId,
        /// The account to be.
        account_id: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        used_at: OffsetDateTime,
    },
    /// A use led to no account, and counts no more.
    GivenBack {
        /// The invite.
        invite_id: RegistrationInviteId,
        /// The account that did not come to be.
        account_id: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        given_back_at: OffsetDateTime,
    },
    /// The link is worth nothing any more; accounts that were made by it stay.
    Revoked {
        /// The invite.
        invite_id: RegistrationInviteId,
        /// The administrator who took it back.
        by: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        revoked_at: OffsetDateTime,
    },
}

impl RegistrationInviteEvent {
    /// The stored names of all events of a registration invite.
    pub const TYPES: &[&'static str] = &[
        "registration_invite.created",
        "registration_invite.used",
        "registration_invite.given_back",
        "registration_invite.revoked",
    ];

    /// The invite that it happened to.
    #[must_use]
    pub fn invite_id(&self) -> RegistrationInviteId {
        match self {
            Self::Created { invite_id, .. }
            | Self::Used { invite_id, .. }
            | Self::GivenBack { invite_id, .. }
            | Self::Revoked { invite_id, .. } => *invite_id,
        }
    }
}

impl Event for RegistrationInviteEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "registration_invite.created",
            Self::Used { .. } => "registration_invite.used",
            Self::GivenBack { .. } => "registration_invite.given_back",
            Self::Revoked { .. } => "registration_invite.revoked",
        }
    }
}

/// Why a registration invite says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RegistrationInviteRefusal {
    /// There is no such invite.
    #[error("there is no such registration invite")]
    Unknown,
    /// It was made before.
    #[error("the registration invite already exists")]
    AlreadyExists,
    /// Only administrators make and take back invites.
    #[error("only administrators may do this")]
    NotAdministrator,
    /// It would let nobody in.
    #[error("the registration invite would be over at once")]
    AlreadyOver,
    /// It was taken back, or its time is over.
    #[error("the registration invite is over")]
    Over,
    /// As many accounts were made by it as may.
    #[error("the registration invite was used up")]
    UsedUp,
}

/// A registration invite as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationInvite {
    created: Option<CreatedInvite>,
    /// The accounts that were made by it, or are being made, and since when.
    uses: BTreeMap<AccountId, OffsetDateTime>,
    is_revoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct CreatedInvite {
    invite_id: RegistrationInviteId,
    max_uses: u32,
    expires_at: Option<OffsetDateTime>,
}

impl RegistrationInvite {
    /// The accounts that were made by it, or are being made, and since when.
    pub fn uses(&self) -> impl Iterator<Item = (AccountId, OffsetDateTime)> + '_ {
        self.uses.iter().map(|(account_id, used_at)| (*account_id, *used_at))
    }

    fn admit(
        &self,
        created: CreatedInvite,
        account_id: AccountId,
        now: OffsetDateTime,
    ) -> Result<Vec<RegistrationInviteEvent>, RegistrationInviteRefusal> {
        let CreatedInvite { invite_id, max_uses, expires_at } = created;
        if self.uses.contains_key(&account_id) {
            return Ok(Vec::new());
        }
        if self.is_revoked || expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(RegistrationInviteRefusal::Over);
        }
        if u32::try_from(self.uses.len()).map_or(true, |uses| uses >= max_uses) {
            return Err(RegistrationInviteRefusal::UsedUp);
        }
        Ok(vec![RegistrationInviteEvent::Used { invite_id, account_id, used_at: now }])
    }
}

impl Aggregate for RegistrationInvite {
    const TYPE: &'static str = "registration_invite";
    type Command = RegistrationInviteCommand;
    type Event = RegistrationInviteEvent;
    type Refusal = RegistrationInviteRefusal;

    fn decide(
        &self,
        command: RegistrationInviteCommand,
        now: OffsetDateTime,
    ) -> Result<Vec<RegistrationInviteEvent>, RegistrationInviteRefusal> {
        use RegistrationInviteCommand::{Create, GiveBack, Revoke, Use};
        match (command, self.created) {
            (Create { by, .. } | Revoke { by }, _) if !by.is_administrator => {
                Err(RegistrationInviteRefusal::NotAdministrator)
            }
            (Create { .. }, Some(_)) => Err(RegistrationInviteRefusal::AlreadyExists),
            (Create { max_uses, expires_at, .. }, None)
                if max_uses == 0 || expires_at.is_some_and(|expires_at| expires_at <= now) =>
            {
                Err(RegistrationInviteRefusal::AlreadyOver)
            }
            (Create { invite_id, by, max_uses, expires_at }, None) => {
                let (by, max_uses) = (by.account_id, max_uses.min(MOST_USES));
                Ok(vec![RegistrationInviteEvent::Created { invite_id, by, max_uses, expires_at, created_at: now }])
            }
            (Use { .. } | GiveBack { .. } | Revoke { .. }, None) => Err(RegistrationInviteRefusal::Unknown),
            (Use { account_id }, Some(created)) => self.admit(created, account_id, now),
            (GiveBack { account_id }, Some(CreatedInvite { invite_id, .. })) => {
                let given_back = RegistrationInviteEvent::GivenBack { invite_id, account_id, given_back_at: now };
                Ok(self.uses.contains_key(&account_id).then_some(given_back).into_iter().collect())
            }
            (Revoke { .. }, Some(_)) if self.is_revoked => Ok(Vec::new()),
            (Revoke { by }, Some(CreatedInvite { invite_id, .. })) => {
                Ok(vec![RegistrationInviteEvent::Revoked { invite_id, by: by.account_id, revoked_at: now }])
            }
        }
    }

    fn apply(&mut self, event: &RegistrationInviteEvent) {
        match event {
            RegistrationInviteEvent::Created { invite_id, max_uses, expires_at, .. } => {
                self.created =
                    Some(CreatedInvite { invite_id: *invite_id, max_uses: *max_uses, expires_at: *expires_at });
            }
            RegistrationInviteEvent::Used { account_id, used_at, .. } => _ = self.uses.insert(*account_id, *used_at),
            RegistrationInviteEvent::GivenBack { account_id, .. } => _ = self.uses.remove(account_id),
            RegistrationInviteEvent::Revoked { .. } => self.is_revoked = true,
        }
    }

    fn claimed(_: Claimed) -> RegistrationInviteRefusal {
        RegistrationInviteRefusal::AlreadyExists
    }
}
