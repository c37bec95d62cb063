//! Events that cannot be read: a newer Weir wrote them, or they are damaged. They are not waited for, since whoever loses a right
//! after them would keep it. What such an event may have taken away is taken away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use commands::{
    LoadError,
    accounts::suspension::{self, Standing},
    events::StoredEvent,
};
use domain::{
    DecodeError, DomainEvent,
    accounts::{AccountEvent, AccountSuspended},
    channels::Visibility,
    ids::{AccountId, StreamId},
    recordings::RecordingVisibility,
    reports::ReportTarget,
};
use ingest::rights::{Change, ChannelRights, RecordingTerms};
use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use super::{BoxError, Follower, kept_out, known_until_s, withdrawn};
use crate::wire::fields::Fields;

/// What a follower of the log could not read. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<Mutex<Events>>);

/// The types of those that were told of, by their positions: what is read again is not told again. They are not met in their order.
type Events = BTreeMap<i64, String>;

impl Unread {
    /// Nothing so far, and the metric says so.
    #[must_use]
    pub fn new() -> Self {
        metrics::describe_gauge!(
            "weir_rights_unread_events",
            "Events that cannot be read, of those that say who may watch what; what they are about is closed."
        );
        metrics::gauge!("weir_rights_unread_events").set(0.0);
        Self::default()
    }

    /// How many there were, and position and type of the first; `None` when all could be read.
    #[must_use]
    pub fn told(&self) -> Option<(u64, i64, String)> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.first_key_value().map(|(position, event_type)| (events.len() as u64, *position, event_type.clone()))
    }

    /// Tells of one, once.
    pub(super) fn note(&self, stored: &StoredEvent, error: &(dyn std::error::Error + 'static)) {
        let StoredEvent { position, event_type, event_version, .. } = stored;
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.insert(*position, event_type.clone()).is_some() {
            return;
        }
        metrics::gauge!("weir_rights_unread_events").set(events.len() as f64);
        error!(
            event.position = position,
            event.name = event_type,
            event.version = event_version,
            error,
            "an event that says who may watch what cannot be read; what it may have taken away is taken away"
        );
    }
}

/// Whether it is the log's content that cannot be read, and not the log: then it will be no better the next time.
fn is_unreadable(error: &BoxError) -> bool {
    error.is::<DecodeError>()
        || matches!(error.downcast_ref::<LoadError>(), Some(LoadError::Unreadable { .. } | LoadError::Gap { .. }))
}

impl Follower {
    /// Takes in an event, or what it may have been.
    pub(super) async fn take(&self, stored: &StoredEvent) -> Result<(), BoxError> {
        match self.take_known(stored).await {
            Err(error) if is_unreadable(&error) => {
                self.deny(stored).await?;
                self.unread.note(stored, &*error);
                Ok(())
            }
            taken => taken,
        }
    }

    /// Takes away whatever an event of this type can take away. What it happened to stands beside the payload.
    async fn deny(&self, stored: &StoredEvent) -> Result<(), BoxError> {
        let until_s = known_until_s(stored);
        // Nothing that has a right has another kind of id.
        let Ok(id) = stored.aggregate_id.parse::<Uuid>() else { return Ok(()) };
        let fields = Fields::of(stored);
        match stored.event_type.as_str() {
            // Who may watch it now is not known, so only tokens of later are worth anything; and whoever gives them out knows.
            "channel.visibility_changed" => {
                self.restrict(ChannelRights {
                    channel_id: id.into(),
                    visibility: Visibility::Private,
                    version: stored.sequence,
                    is_closed: false,
                })
                .await?;
            }
            "channel.closed" => self.close(id.into(), stored),
            "channel.role_given" => self.take_role(id.into(), stored),
            "channel.role_taken" => self.take_role_and_renew(id.into(), stored),
            // The id of a personal token stands in the place of a session's.
            "session.ended" | "personal_token.revoked" => {
                self.rights.learn(Change::Session { session_id: id.into(), until_s });
            }
            "invite.revoked" => self.rights.learn(Change::Invite { invite_id: id.into(), until_s }),
            "stream.started" => match fields.channel_id() {
                Some(channel_id) if self.is_restricted(channel_id) => self.rights.belongs(id, channel_id),
                Some(_) => {}
                // It may be one that only some may watch.
                None => self.rights.learn(Change::Withdrawn { stream_id: id.into(), until_s }),
            },
            // One of which no channel is known is in no read model either, and so not to be had.
            "recording.started" => {
                if let Some(channel_id) = fields.channel_id().filter(|id| self.is_restricted(*id)) {
                    self.rights.belongs(id, channel_id);
                }
            }
            "recording.edited" | "recording.deleted" => {
                let channel_id = fields.channel_id();
                self.rights.learn(Change::Recording(RecordingTerms {
                    recording_id: id.into(),
                    // Those of no channel would be nobody's to keep from.
                    is_deleted: stored.event_type == "recording.deleted" || channel_id.is_none(),
                    channel_id: channel_id.unwrap_or_else(|| Uuid::nil().into()),
                    visibility: RecordingVisibility::Archived,
                    is_download_allowed: false,
                    version: stored.sequence,
                }));
            }
            "account.suspended" => {
                self.withdraw(&self.of_suspended(id.into()).await?);
                // Until when cannot be read.
                for change in kept_out::of(&self.commands, id.into(), stored.sequence, u64::MAX).await? {
                    self.rights.learn(change);
                }
            }
            "report.decided" => self.withdraw(&self.of_decided(&fields).await?),
            _ => {}
        }
        Ok(())
    }

    /// What an event that can be read withdraws, as far as what it is about can be read, too.
    pub(super) async fn withdrawn_by(
        &self,
        event: &DomainEvent,
        stored: &StoredEvent,
    ) -> Result<Vec<StreamId>, BoxError> {
        let error = match withdrawn::by(&self.commands, event).await {
            Err(error @ (LoadError::Unreadable { .. } | LoadError::Gap { .. })) => error,
            withdrawn => return Ok(withdrawn?),
        };
        match event {
            // Whether it was lifted cannot be read; when it is over it says itself.
            DomainEvent::Account(AccountEvent::Suspended(AccountSuspended { account_id, until, .. })) => {
                if until.is_some_and(|until| until <= OffsetDateTime::now_utc()) {
                    return Ok(Vec::new());
                }
                let last = withdrawn::last_of(&self.commands, *account_id).await?;
                self.unread.note(stored, &error);
                Ok(last)
            }
            // Which stream a recording is of.
            _ => {
                self.unread.note(stored, &error);
                Ok(Vec::new())
            }
        }
    }

    /// What an account that may be suspended has shown last.
    async fn of_suspended(&self, account_id: AccountId) -> Result<Vec<StreamId>, BoxError> {
        match suspension::standing(&self.commands, account_id).await {
            Ok(Standing::Good | Standing::Erased) => Ok(Vec::new()),
            // Its events, among them this one, cannot be read.
            Ok(Standing::Suspended) | Err(LoadError::Unreadable { .. } | LoadError::Gap { .. }) => {
                Ok(withdrawn::last_of(&self.commands, account_id).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What a report was about that may have been taken down.
    async fn of_decided(&self, fields: &Fields) -> Result<Vec<StreamId>, BoxError> {
        match fields.taken_down() {
            Some(ReportTarget::Stream { id }) => Ok(vec![id]),
            Some(ReportTarget::Recording { id }) => match withdrawn::over(&self.commands, id).await {
                Ok(stream_id) => Ok(stream_id.into_iter().collect()),
                // Which stream it is of cannot be read either; whether it may be had itself its own events say.
                Err(LoadError::Unreadable { .. } | LoadError::Gap { .. }) => Ok(Vec::new()),
                Err(error) => Err(error.into()),
            },
            _ => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests;
