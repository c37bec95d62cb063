//! The events of the log that are about a person: what they did, and what happened to their account and their channels.
//!
//! What others did is in it without who they are, and nothing that was done to somebody else.

use std::collections::HashSet;

use commands::{
    Commands,
    accounts::{exports_of, is_erased},
    channels,
    events::{self, Filter, StoredEvent, Subject},
};
use domain::ids::AccountId;
use futures::StreamExt;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{
    archive::Archive,
    contents::{OF_TABLES, open},
    job::{JobError, Progress},
};

/// What happens to an account, or is about what it did: whose it is, its events say as `account_id`. Of a channel so are the roles
/// that were given and taken there.
const OF_ACCOUNTS: &[&str] = &[
    "account",
    "session",
    "personal_token",
    "sign_in",
    "personal_export",
    "profile",
    "email",
    "password_reset",
    "channel",
    "registration_invite",
    "report",
];
/// In the place of who else had a part in it.
const SOMEBODY_ELSE: &str = "somebody else";
/// The fields that name an account.
const NAMES_OF_ACCOUNTS: &[&str] = &["account_id", "by", "owner_id"];
/// What belongs to a channel.
const OF_CHANNELS: &[&str] = &["channel", "stream", "recording", "invite"];

/// What is a person's own.
struct Own {
    account: String,
    actor: String,
    channels: HashSet<String>,
    exports: HashSet<String>,
}

impl Own {
    async fn of(commands: &Commands, account_id: AccountId) -> Result<Self, JobError> {
        let channels = channels::of_owner(commands, account_id).await?;
        let exports = exports_of(commands, account_id).await?;
        Ok(Self {
            account: account_id.to_string(),
            actor: format!("account:{account_id}"),
            channels: channels.into_iter().map(|id| id.to_string()).collect(),
            exports: exports.into_iter().map(|id| id.to_string()).collect(),
        })
    }

    /// The event as the person is told of it, if it is theirs.
    fn told(&self, event: &StoredEvent) -> Option<Value> {
        let metadata: Value = serde_json::from_str(event.metadata.get()).ok()?;
        let actor = metadata.get("actor").and_then(Value::as_str).unwrap_or_default();
        let is_by_them = actor == self.actor;
        // A look at the text first: most of the log is not theirs, and is not read.
        let may_be = is_by_them
            || self.channels.contains(&event.aggregate_id)
            || self.exports.contains(&event.aggregate_id)
            || event.payload.get().contains(&self.account)
            || (OF_CHANNELS.contains(&&*event.aggregate_type)
                && self.channels.iter().any(|id| event.payload.get().contains(id.as_str())));
        if !may_be {
            return None;
        }
        let payload: Value = serde_json::from_str(event.payload.get()).ok()?;
        let data = payload.as_object()?.values().next()?;
        let of = |field: &str| data.get(field).and_then(Value::as_str);
        let kind = &*event.aggregate_type;
        let is_theirs = is_by_them
            || (OF_ACCOUNTS.contains(&kind) && of("account_id") == Some(self.account.as_str()))
            || (kind == "channel" && self.channels.contains(&event.aggregate_id))
            || (OF_CHANNELS.contains(&kind) && of("channel_id").is_some_and(|id| self.channels.contains(id)))
            || (kind == "export" && self.exports.contains(&event.aggregate_id));
        is_theirs.then(|| {
            json!({
                "position": event.position,
                "time": event.recorded_at.format(&Rfc3339).unwrap_or_default(),
                "type": event.event_type,
                "version": event.event_version,
                "subject": self.subject(event),
                "actor": match actor {
                    _ if is_by_them => "you",
                    _ if actor.starts_with("account:") => SOMEBODY_ELSE,
                    _ => "the server",
                },
                "data": self.without_others("", data.clone()),
            })
        })
    }

    /// What it happened to; not whom, where that is somebody else.
    fn subject(&self, event: &StoredEvent) -> String {
        let StoredEvent { aggregate_type, aggregate_id, .. } = event;
        let subject = Subject { aggregate_type: aggregate_type.clone(), aggregate_id: aggregate_id.clone() };
        if self.is_another(&subject) { format!("{aggregate_type}/{SOMEBODY_ELSE}") } else { subject.to_string() }
    }

    fn is_another(&self, subject: &Subject) -> bool {
        subject.is_of_account() && subject.aggregate_id != self.account
    }

    /// The value of the field `name` without codes that may be good still, and without who else had a part in it.
    fn without_others(&self, name: &str, value: Value) -> Value {
        match value {
            _ if name == "code" || name.ends_with("_code") => Value::Null,
            // Who it was sealed for goes with it when it is not opened.
            Value::Object(fields) if fields.contains_key("ciphertext") => Value::Object(fields),
            Value::Object(fields) => {
                let without = fields.into_iter().map(|(name, value)| {
                    let value = self.without_others(&name, value);
                    (name, value)
                });
                Value::Object(without.collect())
            }
            Value::Array(values) => values.into_iter().map(|value| self.without_others(name, value)).collect(),
            Value::String(text) if self.names_another(name, &text) => SOMEBODY_ELSE.into(),
            value => value,
        }
    }

    fn names_another(&self, name: &str, text: &str) -> bool {
        match name {
            "subject" => text.parse().is_ok_and(|subject| self.is_another(&subject)),
            name => NAMES_OF_ACCOUNTS.contains(&name) && text != self.account,
        }
    }
}

/// Writes the events, a line each.
pub(super) async fn write(
    commands: &Commands,
    account_id: AccountId,
    archive: &mut Archive,
    progress: &Progress,
) -> Result<(), JobError> {
    let own = Own::of(commands, account_id).await?;
    archive.file("events.ndjson").await?;
    let head = events::head(commands.pool()).await?;
    let filter = Filter { until: Some(head), ..Filter::default() };
    let mut batches = Box::pin(events::batches(commands.pool().clone(), filter));
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| JobError::Log(error.into()))?;
        let mut told: Vec<Value> = batch.events.iter().filter_map(|event| own.told(event)).collect();
        open(commands, account_id, &mut told).await?;
        for event in told {
            archive.add(&serde_json::to_vec(&event)?).await?;
            archive.add(b"\n").await?;
        }
        let part = batch.reached as f64 / head.max(1) as f64;
        progress.set(OF_TABLES + (1.0 - OF_TABLES) * part);
        tokio::task::yield_now().await;
    }
    // Whoever was erased meanwhile gets nothing of what could still be opened.
    if is_erased(commands, account_id).await.map_err(|error| JobError::Log(error.into()))? {
        return Err(JobError::Lost);
    }
    Ok(())
}
