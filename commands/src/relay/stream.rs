use std::{collections::VecDeque, time::Duration};

use async_nats::jetstream::{
    Context,
    context::{ContextBuilder, CreateStreamError, PublishAckFuture, PublishError},
    message::PublishMessage,
    stream::{Config, RawMessageError},
};
use bytes::Bytes;
use metrics::{counter, gauge};
use sqlx::PgPool;
use thiserror::Error;

use super::{POSITION_HEADER, STREAM, SUBJECT_PREFIX, messages::Message};
use crate::events::{self, Lent, within};

/// How many messages are on their way at once.
const IN_FLIGHT: usize = 512;
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Room for the headers of a message beside its body.
const HEADERS_LEN: usize = 512;
/// The message id of whatever comes first in a stream. nats-server before 2.10 takes an expected last sequence of 0 for
/// none; by this it still takes one first message only.
const FIRST: &str = "first";

/// Why the relay has to look again where it stands.
#[derive(Debug, Error)]
pub(super) enum RelayError {
    #[error("the log could not be read")]
    Log(#[from] sqlx::Error),
    #[error("the stream {STREAM} could not be found or made")]
    Stream(#[from] CreateStreamError),
    #[error("the last message of the stream {STREAM} could not be read")]
    LastMessage(#[from] RawMessageError),
    #[error("message {sequence} of the stream {STREAM} has no position: something else writes to it")]
    NoPosition { sequence: u64 },
    #[error("the event at position {position} could not be published")]
    Publish {
        position: i64,
        #[source]
        source: PublishError,
    },
    #[error("the event at position {position} became message {found} instead of {expected}: another relay is at work")]
    Fenced { position: i64, expected: u64, found: u64 },
}

/// The stream as the relay believes it to be. Each message is published on the condition that the belief is right.
pub(super) struct Stream {
    client: async_nats::Client,
    context: Context,
    /// The position of the last event that it is known to have.
    pub(super) position: i64,
    last_sequence: u64,
    /// What follows on that, in order.
    in_flight: VecDeque<InFlight>,
}

struct InFlight {
    position: i64,
    /// What it becomes if all is as believed.
    sequence: u64,
    sent: PublishAckFuture,
}

impl Stream {
    /// Finds the stream, makes it when it is missing, and reads from it where to go on.
    pub(super) async fn open(client: async_nats::Client, pool: &PgPool) -> Result<Self, RelayError> {
        let context = ContextBuilder::new()
            .timeout(TIMEOUT)
            .ack_timeout(TIMEOUT)
            .max_ack_inflight(4 * IN_FLIGHT)
            .build(client.clone());
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{SUBJECT_PREFIX}.>")],
            max_age: MAX_AGE,
            description: Some("The domain events of Weir, in the order of the log".to_owned()),
            ..Config::default()
        };
        let stream = context.get_or_create_stream(config).await?;
        let state = &stream.cached_info().state;
        let last_sequence = state.last_sequence;
        let position = if state.messages == 0 {
            slowest_projection(pool).await?
        } else {
            let last = stream.get_raw_message(last_sequence).await?;
            last.headers
                .get(POSITION_HEADER)
                .and_then(|position| position.as_str().parse().ok())
                .ok_or(RelayError::NoPosition { sequence: last_sequence })?
        };
        let head = within(TIMEOUT, events::head(pool)).await?;
        if position > head {
            tracing::error!(
                position,
                head,
                "the stream {STREAM} is ahead of the log, which was restored to an earlier state; delete the stream"
            );
        }
        Ok(Self { client, context, position, last_sequence, in_flight: VecDeque::with_capacity(IN_FLIGHT) })
    }

    /// Sends `messages`, which follow on what was sent before, in order. Returns while the last of them are on their
    /// way. After an error the stream has to be opened anew: how many have arrived is not known.
    pub(super) async fn publish(&mut self, messages: Vec<Message>) -> Result<(), RelayError> {
        for message in messages {
            if self.in_flight.len() == IN_FLIGHT {
                self.acknowledge_first().await?;
            }
            let position = message.position;
            let sequence = self.last_sequence + self.in_flight.len() as u64 + 1;
            let sent = self.send(message, sequence).await?;
            self.in_flight.push_back(InFlight { position, sequence, sent });
            if sequence == 1 {
                self.acknowledge_first().await?;
            }
        }
        gauge!("weir_relay_position").set(self.position as f64);
        Ok(())
    }

    /// Waits until all that was sent has arrived.
    pub(super) async fn settle(&mut self) -> Result<(), RelayError> {
        while !self.in_flight.is_empty() {
            self.acknowledge_first().await?;
        }
        gauge!("weir_relay_position").set(self.position as f64);
        Ok(())
    }

    async fn send(&self, message: Message, sequence: u64) -> Result<PublishAckFuture, RelayError> {
        let Message { position, subject, mut body } = message;
        if body.len() + HEADERS_LEN > self.client.server_info().max_payload {
            tracing::error!(
                position,
                size_bytes = body.len(),
                "the event is larger than NATS takes; it is sent empty, and read from the log instead"
            );
            body = Bytes::new();
        }
        let mut publish = PublishMessage::build()
            .payload(body)
            .header(POSITION_HEADER, position.to_string())
            .expected_last_sequence(sequence - 1);
        if sequence == 1 {
            publish = publish.message_id(FIRST);
        }
        self.context.send_publish(subject, publish).await.map_err(|source| RelayError::Publish { position, source })
    }

    async fn acknowledge_first(&mut self) -> Result<(), RelayError> {
        let Some(InFlight { position, sequence, sent }) = self.in_flight.pop_front() else { return Ok(()) };
        let ack = sent.await.map_err(|source| RelayError::Publish { position, source })?;
        if ack.sequence != sequence || ack.duplicate {
            return Err(RelayError::Fenced { position, expected: sequence, found: ack.sequence });
        }
        self.last_sequence = sequence;
        self.position = position;
        counter!("weir_relay_published_total").increment(1);
        Ok(())
    }
}

/// Where an empty stream begins: what every projection has, nobody needs from it.
async fn slowest_projection(pool: &PgPool) -> Result<i64, sqlx::Error> {
    within(TIMEOUT, async {
        let mut lent = Lent::take(pool).await?;
        let has_projections: bool =
            sqlx::query_scalar("select to_regclass('read.checkpoints') is not null").fetch_one(&mut *lent).await?;
        let position = if has_projections {
            sqlx::query_scalar("select coalesce(min(position), 0) from read.checkpoints").fetch_one(&mut *lent).await?
        } else {
            0
        };
        lent.give_back();
        Ok(position)
    })
    .await
}
