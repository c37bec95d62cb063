use std::{collections::VecDeque, error::Error as StdError, time::Duration};

use async_nats::{
    HeaderMap, HeaderName, HeaderValue,
    header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID},
    jetstream::{
        Context,
        context::{ContextBuilder, CreateStreamError, PublishAckFuture},
        message::PublishMessage,
        stream::{Config, RawMessageError},
    },
};
use bytes::Bytes;
use metrics::{counter, gauge};
use sqlx::PgPool;
use thiserror::Error;
use tokio::time::timeout;

use super::{POSITION_HEADER, STREAM, SUBJECT_PREFIX, messages::Message};
use crate::events::{self, Lent, within};

/// How many messages are on their way at once.
const IN_FLIGHT: u64 = 512;
/// Of how many messages the server says at once that it has them (ADR 31).
const ANSWERED_EVERY: u64 = 128;
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
        source: Box<dyn StdError + Send + Sync>,
    },
    #[error("the event at position {position} became message {found} instead of {expected}: another relay is at work")]
    Fenced { position: i64, expected: u64, found: u64 },
}

/// The stream as the relay believes it to be. Each message is published on the condition that the belief is right, so that
/// the server takes none of those that follow on one that it has not taken: its answer to one holds for all before it.
pub(super) struct Stream {
    client: async_nats::Client,
    context: Context,
    /// The position of the last event that it is known to have.
    pub(super) position: i64,
    last_sequence: u64,
    /// What the last message that was sent becomes if all is as believed.
    sent_sequence: u64,
    /// The answers that are to come, in order. The last message of what was read at once is always answered.
    in_flight: VecDeque<InFlight>,
}

/// An answer that was asked for.
struct InFlight {
    position: i64,
    /// What the message becomes if all is as believed.
    sequence: u64,
    answer: PublishAckFuture,
}

impl Stream {
    /// Finds the stream, makes it when it is missing, and reads from it where to go on.
    pub(super) async fn open(client: async_nats::Client, pool: &PgPool) -> Result<Self, RelayError> {
        let context = ContextBuilder::new()
            .timeout(TIMEOUT)
            .ack_timeout(TIMEOUT)
            .max_ack_inflight(4 * IN_FLIGHT as usize)
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
        let sent_sequence = last_sequence;
        Ok(Self { client, context, position, last_sequence, sent_sequence, in_flight: VecDeque::new() })
    }

    /// Sends `messages`, which follow on what was sent before, in order. Returns while the last of them are on their
    /// way. After an error the stream has to be opened anew: how many have arrived is not known.
    pub(super) async fn publish(&mut self, messages: Vec<Message>) -> Result<(), RelayError> {
        let mut left = messages.len();
        for message in messages {
            left -= 1;
            while self.sent_sequence - self.last_sequence >= IN_FLIGHT {
                self.acknowledge_first().await?;
            }
            let sequence = self.sent_sequence + 1;
            // Alone: what comes first in a stream decides what everything else in it becomes.
            let is_first = sequence == 1;
            if left == 0 || is_first || sequence.is_multiple_of(ANSWERED_EVERY) {
                self.send_for_an_answer(message, sequence).await?;
            } else {
                self.send(message, sequence).await?;
            }
            self.sent_sequence = sequence;
            if is_first {
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

    async fn send(&self, message: Message, sequence: u64) -> Result<(), RelayError> {
        let position = message.position;
        let body = self.fitting(position, message.body);
        let sending = self.client.publish_with_headers(message.subject, headers(position, sequence), body);
        match timeout(TIMEOUT, sending).await {
            Ok(sent) => sent.map_err(|source| RelayError::Publish { position, source: source.into() }),
            Err(elapsed) => Err(RelayError::Publish { position, source: elapsed.into() }),
        }
    }

    async fn send_for_an_answer(&mut self, message: Message, sequence: u64) -> Result<(), RelayError> {
        let position = message.position;
        let body = self.fitting(position, message.body);
        let publish = PublishMessage::build().payload(body).headers(headers(position, sequence));
        let sent = self.context.send_publish(message.subject, publish).await;
        let answer = sent.map_err(|source| RelayError::Publish { position, source: source.into() })?;
        self.in_flight.push_back(InFlight { position, sequence, answer });
        Ok(())
    }

    /// The body, as far as NATS takes it.
    fn fitting(&self, position: i64, body: Bytes) -> Bytes {
        if body.len() + HEADERS_LEN > self.client.max_payload() {
            tracing::error!(
                position,
                size_bytes = body.len(),
                "the event is larger than NATS takes; it is sent empty, and read from the log instead"
            );
            return Bytes::new();
        }
        body
    }

    async fn acknowledge_first(&mut self) -> Result<(), RelayError> {
        let Some(InFlight { position, sequence, answer }) = self.in_flight.pop_front() else { return Ok(()) };
        let ack = answer.await.map_err(|source| RelayError::Publish { position, source: source.into() })?;
        if ack.sequence != sequence || ack.duplicate {
            return Err(RelayError::Fenced { position, expected: sequence, found: ack.sequence });
        }
        counter!("weir_relay_published_total").increment(sequence - self.last_sequence);
        self.last_sequence = sequence;
        self.position = position;
        Ok(())
    }
}

fn headers(position: i64, sequence: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(const { HeaderName::from_static(POSITION_HEADER) }, HeaderValue::from(position));
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(sequence - 1));
    if sequence == 1 {
        headers.insert(NATS_MESSAGE_ID, FIRST);
    }
    headers
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
