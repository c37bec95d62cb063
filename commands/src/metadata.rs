use std::{
    fmt::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use domain::ids::{AccountId, NodeId};
use rand::Rng;
use uuid::{Builder, Uuid};

use crate::Idempotency;

/// Who gives a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who is signed in.
    Account(AccountId),
    /// A node that takes in streams.
    Ingest(NodeId),
    /// Weir itself: a process, or a command of somebody who has no account yet.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => write!(formatter, "account:{id}"),
            Self::Ingest(id) => write!(formatter, "ingest:{id}"),
            Self::System => formatter.write_str("system"),
        }
    }
}

/// What the log keeps beside each event of a command: who gave it, and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Who gave the command.
    pub actor: Actor,
    /// This command.
    pub command_id: Uuid,
    /// What it is part of: a request, or the first of a chain of commands.
    pub correlation_id: Uuid,
    /// The event or command that led to it, if it was not a person.
    pub causation_id: Option<Uuid>,
    /// The client's key for the request, if it gave one; kept beside the log for a while, not in it.
    pub idempotency: Option<Idempotency>,
}

impl Metadata {
    /// A command of `actor` that belongs to what is going on ([`correlated`]), or else to nothing but itself.
    #[must_use]
    pub fn new(actor: Actor) -> Self {
        let command_id = new_command_id();
        let correlation_id = CORRELATION_ID.try_with(|id| *id).unwrap_or(command_id);
        Self { actor, command_id, correlation_id, causation_id: None, idempotency: None }
    }

    /// A command of Weir itself that the command of these metadata, or an event that it led to, causes in turn.
    #[must_use]
    pub fn follow_up(&self) -> Self {
        Self { correlation_id: self.correlation_id, causation_id: Some(self.command_id), ..Self::new(Actor::System) }
    }

    /// As the log has it: an object of texts, which is what cqrs-es and its tools read.
    pub(crate) fn to_json(&self) -> String {
        let Self { actor, command_id, correlation_id, causation_id, idempotency: _ } = self;
        let mut json = String::with_capacity(256);
        // None of these texts has a character that JSON escapes.
        let written =
            write!(json, r#"{{"actor":"{actor}","command_id":"{command_id}","correlation_id":"{correlation_id}""#,)
                .and_then(|()| match causation_id {
                    Some(causation_id) => write!(json, r#","causation_id":"{causation_id}""#),
                    None => Ok(()),
                });
        written.expect("a text takes what is written to it");
        json.push('}');
        json
    }
}

tokio::task_local! {
    static CORRELATION_ID: Uuid;
}

/// Runs `future`, a request for example, such that all commands that are made in it belong together. Not those of tasks that
/// it spawns.
pub async fn correlated<F: Future>(correlation_id: Uuid, future: F) -> F::Output {
    CORRELATION_ID.scope(correlation_id, future).await
}

/// Like `Uuid::now_v7`, but with the randomness of this thread, which asks the system for it now and then only.
fn new_command_id() -> Uuid {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).expect("the year is below 500 million");
    Builder::from_unix_timestamp_millis(millis, &rand::rng().random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn what_the_log_keeps_is_an_object_of_texts() {
        let account_id = AccountId::from(Uuid::now_v7());
        let metadata = Metadata { causation_id: Some(Uuid::now_v7()), ..Metadata::new(Actor::Account(account_id)) };
        let read: HashMap<String, String> = serde_json::from_str(&metadata.to_json()).unwrap();
        assert_eq!(read.len(), 4);
        assert_eq!(read["actor"], format!("account:{account_id}"));
        assert_eq!(read["command_id"], metadata.command_id.to_string());
        assert_eq!(read["correlation_id"], metadata.command_id.to_string());
        assert_eq!(read["causation_id"], metadata.causation_id.unwrap().to_string());
        let read: HashMap<String, String> = serde_json::from_str(&Metadata::new(Actor::System).to_json()).unwrap();
        assert_eq!((read.len(), read["actor"].as_str()), (3, "system"));
    }

    #[tokio::test]
    async fn what_happens_in_one_request_belongs_together() {
        let request = Uuid::now_v7();
        let (first, second) =
            correlated(request, async { (Metadata::new(Actor::System), Metadata::new(Actor::System)) }).await;
        assert_eq!((first.correlation_id, second.correlation_id), (request, request));
        assert_ne!(first.command_id, second.command_id);
        let outside = Metadata::new(Actor::System);
        assert_eq!(outside.correlation_id, outside.command_id);
    }

    #[test]
    fn what_follows_belongs_to_the_same_request() {
        let first = Metadata::new(Actor::Account(AccountId::from(Uuid::now_v7())));
        let second = first.follow_up();
        assert_eq!((second.actor, second.correlation_id), (Actor::System, first.correlation_id));
        assert_eq!(second.causation_id, Some(first.command_id));
        assert_ne!(second.command_id, first.command_id);
    }
}
