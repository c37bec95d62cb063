use std::{collections::HashMap, fmt};

use domain::ids::{AccountId, NodeId};
use uuid::Uuid;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Who gave the command.
    pub actor: Actor,
    /// This command.
    pub command_id: Uuid,
    /// What it is part of: a request, or the first of a chain of commands.
    pub correlation_id: Uuid,
    /// The event or command that led to it, if it was not a person.
    pub causation_id: Option<Uuid>,
}

impl Metadata {
    /// A command of `actor` that belongs to nothing but itself.
    #[must_use]
    pub fn new(actor: Actor) -> Self {
        let command_id = Uuid::now_v7();
        Self { actor, command_id, correlation_id: command_id, causation_id: None }
    }

    /// The form in which cqrs-es and its tools carry metadata.
    pub(crate) fn to_map(self) -> HashMap<String, String> {
        let mut map = HashMap::with_capacity(4);
        map.insert("actor".to_owned(), self.actor.to_string());
        map.insert("command_id".to_owned(), self.command_id.to_string());
        map.insert("correlation_id".to_owned(), self.correlation_id.to_string());
        if let Some(causation_id) = self.causation_id {
            map.insert("causation_id".to_owned(), causation_id.to_string());
        }
        map
    }
}
