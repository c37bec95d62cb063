//! Who may read which events: administrators all, and those of a channel whoever the table of [`domain::channels::may`] names.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use commands::{accounts, events::StoredEvent};
use domain::{
    channels::{Channel, ChannelAct, Handle, Visibility, may},
    ids::{AccountId, ChannelId, SessionId},
};
use futures::Stream;
use openapi::events::ActorNames;

use crate::{
    authentication::{Authenticated, is_open},
    channels::allows,
    error::{ApiError, ApiResult},
    long_answers::body_while_open,
    server::Server,
};

/// Somebody who may read some events, as far as was looked.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) account_id: AccountId,
    session_id: SessionId,
    /// The channel whose events it may read; `None` for an administrator.
    owned: Option<ChannelId>,
}

impl Reader {
    /// Somebody who may read the events of `channel`, or all of them, with accounts named as `actors` says.
    ///
    /// # Errors
    /// `forbidden`, or `not_found` for a channel that is closed.
    pub(crate) async fn new(
        server: &Server,
        by: &Authenticated,
        channel: Option<&FoundChannel>,
        actors: ActorNames,
    ) -> ApiResult<Self> {
        let Authenticated { account_id, session_id, .. } = *by;
        if accounts::is_administrator(&server.commands, account_id).await? {
            return Ok(Self { account_id, session_id, owned: None });
        }
        let Some(channel) = channel else {
            return Err(ApiError::forbidden(
                "Only administrators may read all events. Give `channel` with the handle of a channel of yours.",
            ));
        };
        if !channel.allows(account_id, ChannelAct::ReadEvents) {
            let detail = "Only administrators and the channel's owner may read its events.";
            return Err(channel.refusal(account_id, detail));
        }
        if actors == ActorNames::Plain {
            return Err(ApiError::forbidden("Only administrators may read who acted. Leave `actors` out."));
        }
        Ok(Self { account_id, session_id, owned: Some(channel.id) })
    }

    /// Whether it may still: the session may have ended, the channel may have been closed.
    ///
    /// # Errors
    /// When that cannot be said at the moment.
    pub(crate) async fn still_may(&self, server: &Server) -> ApiResult<bool> {
        if !is_open(server, self.session_id).await? {
            return Ok(false);
        }
        match self.owned {
            None => Ok(accounts::is_administrator(&server.commands, self.account_id).await?),
            Some(channel_id) => {
                let channel = server.commands.load::<Channel>(&channel_id.to_string()).await?;
                let standing = channel.map(|(channel, _)| channel.standing(self.account_id));
                Ok(standing.is_some_and(|standing| may(standing, false, ChannelAct::ReadEvents)))
            }
        }
    }

    /// Resolves once its session has ended, as far as this node knows.
    pub(crate) async fn signed_out(&self, server: &Server) {
        server.ended.ends(self.session_id.uuid()).await;
    }

    /// A body that breaks off when its session ends.
    pub(crate) fn body<E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static>(
        &self,
        server: &Arc<Server>,
        content: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Body {
        body_while_open(server, self.session_id, content)
    }

    /// Whether it may no more from this event on.
    pub(crate) fn is_ended_by(&self, event: &StoredEvent) -> bool {
        match event.event_type.as_str() {
            "session.ended" | "personal_token.revoked" => is(&event.aggregate_id, self.session_id),
            "account.erased" => is(&event.aggregate_id, self.account_id),
            "account.administrator_revoked" => self.owned.is_none() && is(&event.aggregate_id, self.account_id),
            "channel.closed" => self.owned.is_some_and(|channel_id| is(&event.aggregate_id, channel_id)),
            _ => false,
        }
    }
}

fn is(aggregate_id: &str, id: impl ToString) -> bool {
    aggregate_id == id.to_string()
}

/// A channel as far as rights need it.
#[derive(Debug, Clone)]
pub(crate) struct FoundChannel {
    pub(crate) id: ChannelId,
    /// As the log has it.
    channel: Channel,
}

impl FoundChannel {
    /// The channel of a handle or an id, closed or not.
    ///
    /// # Errors
    /// `not_found` when there never was one.
    pub(crate) async fn named(server: &Server, name: &str) -> ApiResult<Self> {
        match name.parse() {
            Ok(id) => Self::of(server, id).await,
            Err(_) => Self::of_handle(server, name).await,
        }
    }

    /// The channel of a handle, closed or not.
    ///
    /// # Errors
    /// `not_found` when there never was one.
    pub(crate) async fn of_handle(server: &Server, handle: &str) -> ApiResult<Self> {
        let handle = Handle::parse(handle).map_err(|_| no_channel())?;
        let held = commands::channels::find(&server.commands, handle.as_str()).await;
        Self::of(server, held.map_err(ApiError::unavailable)?.ok_or_else(no_channel)?).await
    }

    async fn of(server: &Server, id: ChannelId) -> ApiResult<Self> {
        let (channel, _) = server.commands.load::<Channel>(&id.to_string()).await?.ok_or_else(no_channel)?;
        Ok(Self { id, channel })
    }

    /// Whether `by` may know what it was.
    ///
    /// # Errors
    /// `forbidden`, or `not_found` for a channel that is closed.
    pub(crate) async fn authorise(&self, server: &Server, by: AccountId) -> ApiResult<()> {
        if allows(server, &self.channel, by, ChannelAct::SeeHistory).await? {
            return Ok(());
        }
        Err(self.refusal(by, "Only the channel's owner and administrators may see how it was."))
    }

    /// Whether `by` may do this by what they are to it.
    fn allows(&self, by: AccountId, act: ChannelAct) -> bool {
        may(self.channel.standing(by), false, act)
    }

    /// The refusal of somebody who is no administrator: nobody learns of a channel that they may not watch.
    fn refusal(&self, by: AccountId, detail: &'static str) -> ApiError {
        let is_known = match self.channel.visibility() {
            None => false,
            Some(Visibility::Private) => self.allows(by, ChannelAct::Watch),
            Some(Visibility::Public | Visibility::Unlisted) => true,
        };
        if is_known { ApiError::forbidden(detail) } else { no_channel() }
    }
}

fn no_channel() -> ApiError {
    ApiError::not_found("There is no channel with this handle or id.")
}
