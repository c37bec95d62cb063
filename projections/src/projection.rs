use domain::{
    RecordedEvent,
    sealed::{BoxFuture, Keyring, KeyringError},
};
use sqlx::PgConnection;
use thiserror::Error;

use crate::{
    accounts, channels, error, exports, invites, recordings, registrations, reports, security_events, streams, teams,
};

/// Every projection of this Weir; to add one, add it here.
pub const ALL: &[&dyn Projection] = &[
    &accounts::AccountsV1,
    &accounts::PersonalTokensV1,
    &accounts::ProfilesV1,
    &accounts::SessionsV1,
    &accounts::SuspensionsV1,
    &channels::ChannelsV1,
    &exports::ExportsV1,
    &invites::InvitesV1,
    &recordings::RecordingsV1,
    &registrations::RegistrationInvitesV1,
    &reports::ReportsV1,
    &security_events::SecurityEventsV1,
    &streams::StreamsV1,
    &teams::TeamsV1,
];

/// What turns events into the rows of a read model.
///
/// It folds a batch in memory and writes each of its tables once (`insert … select from unnest(…) on conflict`): that is
/// what makes catching up fast. It never decides, never asks the time, and never reads another projection's tables.
pub trait Projection: Send + Sync + 'static {
    /// Its name, that of its main table with the version: `channels_v1`. A changed shape is a new name.
    fn name(&self) -> &'static str;

    /// Its tables, which nobody else writes.
    fn tables(&self) -> &'static [&'static str];

    /// The stored names of the events that it wants, by aggregate. Others never reach it, whatever they hold.
    fn events(&self) -> &'static [&'static [&'static str]];

    /// Whether an event that cannot be applied may be passed over: kept in `failed_events`, with a warning, instead of
    /// stopping the projection. For read models that can bear a hole.
    fn is_skippable(&self, _event_type: &str) -> bool {
        false
    }

    /// Folds events, in order, into its tables, named without their schema. They are part of a transaction that holds the
    /// checkpoint too. What was applied before changes nothing.
    ///
    /// # Errors
    /// [`ApplyError`]; what was written is then rolled back.
    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        keyring: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>>;
}

impl dyn Projection {
    /// Whether it wants events of this stored name.
    #[must_use]
    pub fn wants(&self, event_type: &str) -> bool {
        self.events().iter().any(|types| types.contains(&event_type))
    }
}

/// Why events could not be applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// Postgres is away, or refuses the rows.
    #[error("the rows could not be written")]
    Write(#[from] sqlx::Error),
    /// Sealed data could not be opened. A destroyed key is no error.
    #[error("sealed data could not be opened")]
    Open(#[from] KeyringError),
    /// The event is about something of which the log told nothing before.
    #[error("the event {event_type} is about {id}, of which nothing is known")]
    Unknown {
        /// The stored name of the event.
        event_type: &'static str,
        /// What it is about.
        id: String,
    },
    /// The event was recorded by a newer Weir, or is damaged.
    #[error("the event could not be read")]
    Decode(#[source] std::sync::Arc<domain::DecodeError>),
    /// A bug in the projection.
    #[error("the projection panicked: {0}")]
    Panicked(String),
    /// The database did not answer for a long time.
    #[error("the batch was not applied in time")]
    TimedOut,
}

impl ApplyError {
    /// Whether the same batch may succeed later, as the fault lies with servers and not with the events.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Write(error) => error::is_passing(error),
            Self::Open(KeyringError::Unavailable(_)) | Self::TimedOut => true,
            Self::Open(KeyringError::Corrupt(_)) | Self::Unknown { .. } | Self::Decode(_) | Self::Panicked(_) => false,
        }
    }
}
