use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{accounts, channels, exports, invites, recordings, registrations, reports, streams, upcast};

/// Something with rules: decides commands into events, and is the fold of its events.
pub trait Aggregate: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in the log, `channel` for example.
    const TYPE: &'static str;
    /// What it can be told to do. Cloned, since a command is decided again when others were faster.
    type Command: Clone + Send + 'static;
    /// What can have happened to it.
    type Event: Event;
    /// Why it says no.
    type Refusal: std::error::Error + Send + Sync + 'static;

    /// The events that `command` leads to at `now`, or why not. Never changes anything.
    ///
    /// # Errors
    /// The refusal, when a rule or the state forbids the command.
    fn decide(&self, command: Self::Command, now: OffsetDateTime) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Folds one event in.
    fn apply(&mut self, event: &Self::Event);

    /// The refusal for an event that claims a name which someone else holds.
    fn claimed(claimed: Claimed) -> Self::Refusal;
}

/// A fact that the log keeps. Stored names and fields are frozen: a new shape is a new version with an upcast.
pub trait Event: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static {
    /// Its stored name, `channel.created` for example.
    fn event_type(&self) -> &'static str;

    /// The version of its shape; `1` until there is an upcast.
    fn event_version(&self) -> &'static str {
        "1"
    }

    /// The unique names that it takes or gives back, in order.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
}

/// The kinds of names that only one may hold at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claimed {
    /// A username, claimed by its keyed digest.
    Username,
    /// A channel's handle.
    Handle,
    /// The set-up token, which makes one administrator.
    SetupToken,
    /// A channel's one live stream.
    LiveStream,
    /// A stream's one recording.
    RecordedStream,
    /// A confirmed e-mail address, claimed by its keyed digest.
    Email,
    /// Somebody's one open report of something.
    OpenReport,
    /// Administering the platform, claimed by the id of the account that was made an administrator: nobody else's, so that it is known who
    /// is.
    Administrator,
}

impl Claimed {
    /// The kind as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Handle => "handle",
            Self::SetupToken => "setup_token",
            Self::LiveStream => "live_stream",
            Self::RecordedStream => "recorded_stream",
            Self::Email => "email",
            Self::OpenReport => "open_report",
            Self::Administrator => "administrator",
        }
    }
}

/// A change to who holds a unique name; it commits with the event that makes it, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The aggregate of the event now holds `name`.
    Take {
        /// What is held.
        kind: Claimed,
        /// The name, in the one form in which it is compared.
        name: String,
    },
    /// Nobody holds `name` any more.
    Release {
        /// What was held.
        kind: Claimed,
        /// The name, in the one form in which it is compared.
        name: String,
    },
}

/// Any event of the log. A capability adds a line here, in [`DomainEvent::decode`] and in [`DomainEvent::event_type`].
#[derive(Debug, Clone, PartialEq)]
pub enum DomainEvent {
    /// Of an account.
    Account(accounts::AccountEvent),
    /// Of a session.
    Session(accounts::SessionEvent),
    /// Of a personal token.
    PersonalToken(accounts::PersonalTokenEvent),
    /// Of sign-ins that failed.
    SignIn(accounts::SignInEvent),
    /// Of an export of what is kept of a person.
    PersonalExport(accounts::PersonalExportEvent),
    /// Of a profile.
    Profile(accounts::ProfileEvent),
    /// Of the e-mail address of an account.
    Email(accounts::EmailEvent),
    /// Of the resets of an account's password.
    PasswordReset(accounts::PasswordResetEvent),
    /// Of a channel.
    Channel(channels::ChannelEvent),
    /// Of a stream.
    Stream(streams::StreamEvent),
    /// Of an export.
    Export(exports::ExportEvent),
    /// Of a recording.
    Recording(recordings::RecordingEvent),
    /// Of an invite.
    Invite(invites::InviteEvent),
    /// Of the install.
    Install(registrations::InstallEvent),
    /// Of a registration invite.
    RegistrationInvite(registrations::RegistrationInviteEvent),
    /// Of a report.
    Report(reports::ReportEvent),
}

/// Why a stored event could not be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// A newer Weir wrote it, or something else did.
    #[error(
        "no event {event_type} of version {event_version} is known for aggregate {aggregate_type}; \
         if a newer Weir wrote it, bring this one to that version"
    )]
    Unknown {
        /// The stored aggregate type.
        aggregate_type: String,
        /// The stored event type.
        event_type: String,
        /// The stored version.
        event_version: String,
    },
    /// The payload is not what its type and version promise.
    #[error("the payload of an event {event_type} does not fit its type")]
    Payload {
        /// The stored event type.
        event_type: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
}

impl DecodeError {
    /// A type or version that is not known, of an aggregate that the type's name tells.
    pub(crate) fn unknown(event_type: &str, event_version: &str) -> Self {
        let aggregate_type = event_type.split_once('.').map_or(event_type, |(aggregate_type, _)| aggregate_type);
        Self::Unknown {
            aggregate_type: aggregate_type.to_owned(),
            event_type: event_type.to_owned(),
            event_version: event_version.to_owned(),
        }
    }
}

/// Reads a stored event of a known kind of aggregate, whichever version it was written in.
///
/// # Errors
/// [`DecodeError::Unknown`] when a newer Weir wrote it, [`DecodeError::Payload`] when the payload does not fit.
pub fn decode<E: Event>(event_type: &str, event_version: &str, payload: &str) -> Result<E, DecodeError> {
    let payload = upcast::upcast(event_type, event_version, payload)?;
    let event: E = serde_json::from_str(&payload)
        .map_err(|source| DecodeError::Payload { event_type: event_type.to_owned(), source })?;
    if event.event_type() == event_type { Ok(event) } else { Err(DecodeError::unknown(event_type, event_version)) }
}

impl DomainEvent {
    /// Reads a stored event, whichever version it was written in.
    ///
    /// # Errors
    /// [`DecodeError`] when type or version are unknown, or the payload does not fit.
    pub fn decode(
        aggregate_type: &str,
        event_type: &str,
        event_version: &str,
        payload: &str,
    ) -> Result<Self, DecodeError> {
        fn of<E: Event>(
            types: &[&str],
            (event_type, event_version, payload): (&str, &str, &str),
            of: impl FnOnce(E) -> DomainEvent,
        ) -> Option<Result<DomainEvent, DecodeError>> {
            types.contains(&event_type).then(|| decode(event_type, event_version, payload).map(of))
        }
        let stored = (event_type, event_version, payload);
        let decoded = match aggregate_type {
            accounts::Account::TYPE => of(accounts::AccountEvent::TYPES, stored, Self::Account),
            accounts::Session::TYPE => of(accounts::SessionEvent::TYPES, stored, Self::Session),
            accounts::PersonalToken::TYPE => of(accounts::PersonalTokenEvent::TYPES, stored, Self::PersonalToken),
            accounts::SignIns::TYPE => of(accounts::SignInEvent::TYPES, stored, Self::SignIn),
            accounts::PersonalExports::TYPE => of(accounts::PersonalExportEvent::TYPES, stored, Self::PersonalExport),
            accounts::Profile::TYPE => of(accounts::ProfileEvent::TYPES, stored, Self::Profile),
            accounts::AccountEmail::TYPE => of(accounts::EmailEvent::TYPES, stored, Self::Email),
            accounts::PasswordReset::TYPE => of(accounts::PasswordResetEvent::TYPES, stored, Self::PasswordReset),
            channels::Channel::TYPE => of(channels::ChannelEvent::TYPES, stored, Self::Channel),
            streams::Stream::TYPE => of(streams::StreamEvent::TYPES, stored, Self::Stream),
            exports::Export::TYPE => of(exports::ExportEvent::TYPES, stored, Self::Export),
            recordings::Recording::TYPE => of(recordings::RecordingEvent::TYPES, stored, Self::Recording),
            invites::Invite::TYPE => of(invites::InviteEvent::TYPES, stored, Self::Invite),
            registrations::Install::TYPE => of(registrations::InstallEvent::TYPES, stored, Self::Install),
            registrations::RegistrationInvite::TYPE => {
                of(registrations::RegistrationInviteEvent::TYPES, stored, Self::RegistrationInvite)
            }
            reports::Report::TYPE => of(reports::ReportEvent::TYPES, stored, Self::Report),
            _ => None,
        };
        decoded.unwrap_or_else(|| {
            Err(DecodeError::Unknown {
                aggregate_type: aggregate_type.to_owned(),
                event_type: event_type.to_owned(),
                event_version: event_version.to_owned(),
            })
        })
    }

    /// Its stored name, `channel.created` for example.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Account(event) => event.event_type(),
            Self::Session(event) => event.event_type(),
            Self::PersonalToken(event) => event.event_type(),
            Self::SignIn(event) => event.event_type(),
            Self::PersonalExport(event) => event.event_type(),
            Self::Profile(event) => event.event_type(),
            Self::Email(event) => event.event_type(),
            Self::PasswordReset(event) => event.event_type(),
            Self::Channel(event) => event.event_type(),
            Self::Stream(event) => event.event_type(),
            Self::Export(event) => event.event_type(),
            Self::Recording(event) => event.event_type(),
            Self::Invite(event) => event.event_type(),
            Self::Install(event) => event.event_type(),
            Self::RegistrationInvite(event) => event.event_type(),
            Self::Report(event) => event.event_type(),
        }
    }

    /// The version of its shape, which is the current one of its type.
    #[must_use]
    pub fn event_version(&self) -> &'static str {
        match self {
            Self::Account(event) => event.event_version(),
            Self::Session(event) => event.event_version(),
            Self::PersonalToken(event) => event.event_version(),
            Self::SignIn(event) => event.event_version(),
            Self::PersonalExport(event) => event.event_version(),
            Self::Profile(event) => event.event_version(),
            Self::Email(event) => event.event_version(),
            Self::PasswordReset(event) => event.event_version(),
            Self::Channel(event) => event.event_version(),
            Self::Stream(event) => event.event_version(),
            Self::Export(event) => event.event_version(),
            Self::Recording(event) => event.event_version(),
            Self::Invite(event) => event.event_version(),
            Self::Install(event) => event.event_version(),
            Self::RegistrationInvite(event) => event.event_version(),
            Self::Report(event) => event.event_version(),
        }
    }
}

/// An event with its place in the log, as projections and processes meet it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Its place in the one total order; contiguous from 1.
    pub position: i64,
    /// Its place among the events of its aggregate; contiguous from 1.
    pub sequence: i64,
    /// When the log took it.
    pub recorded_at: OffsetDateTime,
    /// The fact.
    pub event: DomainEvent,
}
