//! The stream holds each position once, in order, as the log has it.

use anyhow::Context;
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
};
use futures::StreamExt;

use super::{Findings, Stored};

pub async fn check(url: &str, log: &[Stored], findings: &mut Findings) -> anyhow::Result<()> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    let mut stream = jetstream.get_stream(commands::relay::STREAM).await?;
    let count = stream.info().await?.state.messages;
    let consumer = stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            ..pull::Config::default()
        })
        .await?;
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await?;
    let mut last = None;
    for _ in 0..count {
        let message = tokio::time::timeout(crate::PATIENCE, messages.next()).await;
        let message = message.context("a message of the stream does not come")?.context("the messages end early")?;
        let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
        let position = message.headers.as_ref().and_then(|headers| headers.get(commands::relay::POSITION_HEADER));
        let position: i64 = position.context("a message without a position")?.as_str().parse()?;
        let body: serde_json::Value = serde_json::from_slice(&message.payload)?;
        let is_next = last.is_none_or(|last| position == last + 1);
        findings.expect(is_next, || format!("the stream has position {position} after {last:?}"));
        let stored = usize::try_from(position - 1).ok().and_then(|index| log.get(index));
        let is_stored = stored.is_some_and(|stored| {
            body["position"] == position
                && body["event_type"] == stored.event_type.as_str()
                && body["aggregate_id"] == stored.aggregate_id.as_str()
                && body["sequence"] == stored.sequence
        });
        findings.expect(is_stored, || format!("the stream has at {position} what the log has not: {body}"));
        last = Some(position);
    }
    findings.expect(last == log.last().map(|stored| stored.position), || {
        format!("the stream ends at {last:?}, the log at {}", log.len())
    });
    Ok(())
}
