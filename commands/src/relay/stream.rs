use std::{collections::VecDeque, time::Duration};

use async_nats::jetstream::{
    Context,
    context::{ContextBuilder, CreateStreamError, PublishAckFuture, PublishError},
    message::PublishMessage,
    stream::{Config, RawMessageError},
};
use bytes::Bytes;
use sqlx::PgPool;
use thiserror::Error;

use super::{POSITION_HEADER, STREAM, SUBJECT_PREFIX};
use crate::events::{self, StoredEvent};

/// How many messages are on their way at once.
const IN_FLIGHT: usize = 512;
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
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
    #[error("the event at position {position} could not be written as JSON")]
    Json {
        position: i64,
        #[source]
        source: serde_json::Error,
    },
}

/// The stream as the relay believes it to be. Each message is published on the condition that the belief is right.
pub(super) struct Stream {
    context: Context,
    /// The position of the last event in it.
    pub(super) position: i64,
    last_sequence: u64,
}

impl Stream {
    /// Finds the stream, makes it when it is missing, and reads from it where to go on.
    pub(super) async fn open(client: async_nats::Client, pool: &PgPool) -> Result<Self, RelayError> {
        let context =
            ContextBuilder::new().timeout(TIMEOUT).ack_timeout(TIMEOUT).max_ack_inflight(4 * IN_FLIGHT).build(client);
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
        let head = events::head(pool).await?;
        if position > head {
            tracing::error!(
                position,
                head,
                "the stream {STREAM} is ahead of the log, which was restored to an earlier state; delete the stream"
            );
        }
        Ok(Self { context, position, last_sequence })
    }

    /// Publishes `events`, which follow on [`Self::position`], in order. After an error the stream has to be opened
    /// anew: how many have arrived is not known.
    pub(super) async fn publish(&mut self, events: &[StoredEvent]) -> Result<(), RelayError> {
        let mut in_flight: VecDeque<(i64, u64, PublishAckFuture)> = VecDeque::with_capacity(IN_FLIGHT);
        for event in events {
            if in_flight.len() == IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                self.acknowledged(oldest).await?;
            }
            let position = event.position;
            let expected = self.last_sequence + in_flight.len() as u64 + 1;
            let sent = self.send(event, expected).await?;
            in_flight.push_back((position, expected, sent));
            if expected == 1
                && let Some(first) = in_flight.pop_front()
            {
                self.acknowledged(first).await?;
            }
        }
        for sent in in_flight {
            self.acknowledged(sent).await?;
        }
        Ok(())
    }

    async fn send(&self, event: &StoredEvent, expected: u64) -> Result<PublishAckFuture, RelayError> {
        let position = event.position;
        let payload = serde_json::to_vec(event).map_err(|source| RelayError::Json { position, source })?;
        let mut message = PublishMessage::build()
            .payload(Bytes::from(payload))
            .header(POSITION_HEADER, position.to_string())
            .expected_last_sequence(expected - 1);
        if expected == 1 {
            message = message.message_id(FIRST);
        }
        self.context
            .send_publish(format!("{SUBJECT_PREFIX}.{}", event.event_type), message)
            .await
            .map_err(|source| RelayError::Publish { position, source })
    }

    async fn acknowledged(
        &mut self,
        (position, expected, sent): (i64, u64, PublishAckFuture),
    ) -> Result<(), RelayError> {
        let ack = sent.await.map_err(|source| RelayError::Publish { position, source })?;
        if ack.sequence != expected || ack.duplicate {
            return Err(RelayError::Fenced { position, expected, found: ack.sequence });
        }
        self.last_sequence = expected;
        self.position = position;
        Ok(())
    }
}

/// Where an empty stream begins: what every projection has, nobody needs from it.
async fn slowest_projection(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let has_projections: bool =
        sqlx::query_scalar("select to_regclass('read.checkpoints') is not null").fetch_one(pool).await?;
    if !has_projections {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(min(position), 0) from read.checkpoints").fetch_one(pool).await
}
