//! `weir streams`: what is live by the log, and an end for what will not end by itself.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use commands::{
    Actor, Commands, Metadata, channels,
    nodes::{self, HeardNode},
    streams::{self, OpenStream},
};
use domain::{
    channels::Channel,
    ids::{ChannelId, NodeId},
    streams::EndReason,
};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{config::Config, node};

#[derive(Debug, Args)]
pub(crate) struct Streams {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show which streams are live, where, and when their nodes were last heard of
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a stream: its node sends the encoder away; where the node is gone the channel is free again
    ///
    /// An encoder that connects again begins a new stream. To keep it out, rotate the channel's stream key or suspend the account.
    End {
        /// The channel's handle, its id, or the stream's id
        stream: String,
    },
}

impl Streams {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let commands = node::open_commands(config).await?;
        let done = match self.command {
            Command::List { json } => list(&commands, json).await,
            Command::End { stream } => end(&commands, &stream).await,
        };
        commands.shutdown().await;
        done
    }
}

/// A stream that is live, as an operator sees it.
struct Shown {
    stream: OpenStream,
    /// `None` where the channel cannot be read.
    handle: Option<String>,
    /// `None` where it was never heard of, or has left.
    node: Option<HeardNode>,
}

impl Shown {
    fn is_heard(&self) -> bool {
        self.node.as_ref().is_some_and(|node| !node.is_unheard())
    }

    /// What is known of its node, in a word or two.
    fn state(&self) -> String {
        match &self.node {
            Some(node) if node.is_unheard() => format!("silent for {} s", node.silence.as_secs()),
            Some(_) => "heard".to_owned(),
            None => "unknown".to_owned(),
        }
    }
}

async fn shown(commands: &Commands) -> anyhow::Result<Vec<Shown>> {
    let open = streams::all_open(commands).await.context("the log does not answer")?;
    let heard = nodes::all(commands.pool()).await.context("the nodes cannot be looked up")?;
    let heard: HashMap<NodeId, HeardNode> = heard.into_iter().map(|node| (node.node_id, node)).collect();
    let mut shown = Vec::new();
    for stream in open {
        let channel = commands.load::<Channel>(&stream.channel_id.to_string()).await.ok().flatten();
        let handle = channel.and_then(|(channel, _)| channel.handle().map(|handle| handle.as_str().to_owned()));
        shown.push(Shown { stream, handle, node: heard.get(&stream.node_id).cloned() });
    }
    Ok(shown)
}

async fn list(commands: &Commands, json: bool) -> anyhow::Result<()> {
    let shown = shown(commands).await?;
    let mut text = Vec::new();
    if json { write_json(&mut text, &shown) } else { write_table(&mut text, &shown, OffsetDateTime::now_utc()) }
        .and_then(|()| io::stdout().write_all(&text))
        .context("the streams cannot be printed")
}

fn write_json(out: &mut Vec<u8>, shown: &[Shown]) -> io::Result<()> {
    let streams: Vec<_> = shown
        .iter()
        .map(|one| {
            let text = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
            json!({
                "stream_id": one.stream.stream_id,
                "channel_id": one.stream.channel_id,
                "handle": one.handle,
                "started_at": text(one.stream.started_at),
                "node_id": one.stream.node_id,
                "node_address": one.node.as_ref().and_then(|node| node.address.clone()),
                "node_heard_at": one.node.as_ref().map(|node| text(node.heard_at)),
                "is_node_heard": one.is_heard(),
            })
        })
        .collect();
    serde_json::to_writer_pretty(&mut *out, &streams)?;
    writeln!(out)
}

fn write_table(out: &mut Vec<u8>, shown: &[Shown], now: OffsetDateTime) -> io::Result<()> {
    if shown.is_empty() {
        return writeln!(out, "nothing is live");
    }
    let width =
        shown.iter().map(|one| one.handle.as_deref().map_or(1, str::len)).max().unwrap_or(0).max("channel".len());
    writeln!(out, "{:<width$}  {:<36}  {:>9}  node", "channel", "stream", "live for")?;
    for one in shown {
        let seconds = (now - one.stream.started_at).whole_seconds().max(0);
        let lasts = format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let place =
            one.node.as_ref().and_then(|node| node.address.clone()).unwrap_or_else(|| one.stream.node_id.to_string());
        let (handle, stream_id, state) = (one.handle.as_deref().unwrap_or("?"), one.stream.stream_id, one.state());
        writeln!(out, "{handle:<width$}  {stream_id:<36}  {lasts:>9}  {place} ({state})")?;
    }
    Ok(())
}

async fn end(commands: &Commands, wanted: &str) -> anyhow::Result<()> {
    let channel_id = match wanted.parse::<ChannelId>() {
        Ok(_) => None,
        Err(_) => {
            let found = channels::find(commands, wanted).await.context("the channel cannot be looked for")?;
            Some(found.with_context(|| {
                format!("there is no channel {wanted}; give its handle, its id or the id of a stream")
            })?)
        }
    };
    let is_wanted = |stream: &OpenStream| match channel_id {
        Some(channel_id) => stream.channel_id == channel_id,
        None => {
            stream.stream_id.to_string() == wanted.to_lowercase()
                || stream.channel_id.to_string() == wanted.to_lowercase()
        }
    };
    let Some(found) = shown(commands).await?.into_iter().find(|one| is_wanted(&one.stream)) else {
        bail!("{wanted} is not live; `weir streams list` shows what is")
    };
    let stream_id = found.stream.stream_id;
    let reason = if found.is_heard() { EndReason::TakenDown } else { EndReason::Crashed };
    let ended = streams::give_up(commands, stream_id, reason, Metadata::new(Actor::System)).await;
    ended.context("the stream could not be ended; try again")?;
    if found.is_heard() {
        println!("{stream_id} has ended; its node sends the encoder away");
    } else {
        println!("{stream_id} has ended; its node is not heard of, and ends what it still has of it when it is back");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    fn one(handle: Option<&str>, silence_s: Option<u64>) -> Shown {
        let id = Uuid::from_u128(7);
        let node = silence_s.map(|silence_s| HeardNode {
            node_id: id.into(),
            address: Some("http://10.0.0.5:8080".to_owned()),
            heard_at: NOW,
            silence: Duration::from_secs(silence_s),
        });
        let started_at = NOW - Duration::from_secs(3_725);
        let stream =
            OpenStream { stream_id: id.into(), channel_id: id.into(), node_id: id.into(), started_at, position: 1 };
        Shown { stream, handle: handle.map(str::to_owned), node }
    }

    fn table(shown: &[Shown]) -> String {
        let mut text = Vec::new();
        write_table(&mut text, shown, NOW).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_table_says_where_streams_are_and_whether_their_node_is_heard_of() {
        assert_eq!(table(&[]), "nothing is live\n");
        let text = table(&[one(Some("river"), Some(1)), one(Some("a_longer_handle"), Some(90)), one(None, None)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("river            "), "{text}");
        assert!(lines[1].ends_with("  1:02:05  http://10.0.0.5:8080 (heard)"), "{text}");
        assert!(lines[2].ends_with("http://10.0.0.5:8080 (silent for 90 s)"), "{text}");
        assert!(lines[3].starts_with("?  ") && lines[3].ends_with("000000000007 (unknown)"), "{text}");
    }

    #[test]
    fn programs_read_json() {
        let mut text = Vec::new();
        write_json(&mut text, &[one(Some("river"), Some(90)), one(None, None)]).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&read[0]["handle"], &read[0]["is_node_heard"]), (&json!("river"), &json!(false)));
        assert_eq!(read[0]["node_heard_at"], "2026-11-22T10:00:00Z");
        assert_eq!((&read[1]["handle"], &read[1]["node_address"]), (&json!(null), &json!(null)));
    }
}
