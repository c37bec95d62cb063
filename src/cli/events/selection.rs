//! Which events an operator wants, and how accounts stand in them.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use commands::{
    Commands,
    events::{self, Actors, Envelope, Filter},
};
use domain::{channels::Handle, ids::ChannelId};

use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Only these types, with commas between: channel.created, or channel.* for all that begin so
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    types: Vec<String>,
    /// Only what happened to this one: `channel/ID`, `account/ID`, … An account by its id, not by a pseudonym
    #[arg(long, value_name = "KIND/ID")]
    subject: Option<events::Subject>,
    /// Only what happened to this channel and its streams: its handle or its id
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Whether accounts stand under pseudonyms or under their ids
    #[arg(long, default_value = "pseudonymous")]
    actors: ActorNames,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ActorNames {
    Pseudonymous,
    Plain,
}

impl Selection {
    /// Which events are wanted.
    ///
    /// # Errors
    /// When nothing could ever match, with what to give instead, and when the log does not answer.
    pub(super) async fn filter(&self, commands: &Commands, after: i64) -> anyhow::Result<Filter> {
        let mut filter =
            Filter { after, types: self.types.clone(), subject: self.subject.clone(), ..Filter::default() };
        if let Some(name) = &self.channel {
            filter.channel = Some(channel(commands, name).await?);
        }
        filter.check()?;
        is_known(&filter)?;
        Ok(filter)
    }

    /// What writes them.
    pub(super) fn envelope(&self, commands: &Commands, config: &Config) -> Envelope {
        let actors = match self.actors {
            ActorNames::Pseudonymous => Actors::Pseudonymous(commands.pseudonyms()),
            ActorNames::Plain => Actors::Plain,
        };
        Envelope::new(&config.public_url(config.http), actors)
    }

    /// Whether accounts stand under their ids.
    pub(super) fn names_accounts(&self) -> bool {
        self.actors == ActorNames::Plain
    }
}

async fn channel(commands: &Commands, name: &str) -> anyhow::Result<ChannelId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let handle = Handle::parse(name).with_context(|| format!("{name} is no handle of a channel"))?;
    let found = commands::channels::find(commands, handle.as_str()).await.context("the log does not answer")?;
    found.with_context(|| format!("there is no channel {name}"))
}

/// That something could match: nobody shall take an empty file for an answer.
fn is_known(filter: &Filter) -> anyhow::Result<()> {
    let catalogue = domain::catalogue();
    for wanted in &filter.types {
        let one = Filter { types: vec![wanted.clone()], ..Filter::default() };
        if !catalogue.iter().any(|known| one.wants_type(known.event_type)) {
            let known: BTreeSet<&str> = catalogue.iter().map(|known| known.event_type).collect();
            bail!("there is no event type {wanted}; there are {}", listed(known));
        }
    }
    let Some(subject) = &filter.subject else { return Ok(()) };
    if subject.is_pseudonym() {
        bail!(
            "{subject} is a pseudonym, and nothing leads back from one to the account; give the account's id, which `--actors plain` shows"
        );
    }
    let kinds: BTreeSet<&str> = catalogue.iter().map(|known| known.aggregate_type).collect();
    if !kinds.contains(subject.aggregate_type.as_str()) {
        bail!("nothing happens to a {}; give one of {}, and its id", subject.aggregate_type, listed(kinds));
    }
    Ok(())
}

fn listed(names: BTreeSet<&str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_found_by_a_pseudonym_and_nothing_under_a_kind_that_is_none() {
        let of = |subject: &str| {
            let filter = Filter { subject: Some(subject.parse().unwrap()), ..Filter::default() };
            is_known(&filter).map_err(|error| error.to_string())
        };
        for known in ["account/018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f", "channel/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44"] {
            assert_eq!(of(known), Ok(()), "{known}");
        }
        for kind in ["account", "email", "profile"] {
            let refused = of(&format!("{kind}/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44")).unwrap_err();
            assert!(refused.contains("pseudonym") && refused.contains("--actors plain"), "{refused}");
        }
        let refused = of("chanel/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44").unwrap_err();
        assert!(refused.contains("account") && refused.contains("channel"), "{refused}");
        let typed = Filter { types: vec!["stream.*".to_owned(), "channel.begun".to_owned()], ..Filter::default() };
        let refused = is_known(&typed).unwrap_err().to_string();
        assert!(refused.contains("channel.begun") && refused.contains("channel.created"), "{refused}");
    }
}
