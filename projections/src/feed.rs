//! The log as it grows, once for all workers of a process.
//!
//! JetStream is followed from its end only; whatever lies between the last event that went through here and that end is read
//! from the log in Postgres, after the consumer is in place. So it does not matter what JetStream lost, kept, or numbers
//! anew. While there is no NATS, or no stream, or nothing comes through although the log grows, the log itself is
//! followed.

mod listen;

use std::{pin::Pin, sync::Arc, time::Duration};

use async_nats::{
    connection::State as Connection,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, pull},
    },
};
use domain::sealed::BoxFuture;
use futures::{StreamExt, future::OptionFuture, stream::ReadyChunks};
use listen::Listener;
use sqlx::PgPool;
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    connection::Lasting,
    log::{self, BATCH, Batch, Log},
    schema,
    status::Source,
};

/// The stream that the relay fills.
const STREAM: &str = "WEIR_EVENTS";
/// How often the log is looked at while it is what is followed: for a notification that got lost.
const POLL: Duration = Duration::from_millis(100);
/// How often it is looked at beside NATS, and NATS is tried again.
const LOOK: Duration = Duration::from_millis(500);
/// How long Postgres may take for a batch.
const READ: Duration = Duration::from_secs(30);
/// How many batches a slow worker may be behind before it reads the log for itself.
const CAPACITY: usize = 32;

type Messages = Pin<Box<ReadyChunks<pull::Stream>>>;
type OpenError = Box<dyn std::error::Error + Send + Sync>;

/// What workers hear.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Batches, each after the one before.
    pub(crate) batches: broadcast::Receiver<Arc<Batch>>,
    /// The end of the log, as far as it is known.
    pub(crate) head: watch::Receiver<i64>,
}

impl Clone for Subscription {
    fn clone(&self) -> Self {
        Self { batches: self.batches.resubscribe(), head: self.head.clone() }
    }
}

/// Follows the log.
pub(crate) struct Feed {
    log: Log,
    pool: PgPool,
    connection: Lasting,
    nats: Option<async_nats::Client>,
    batches: broadcast::Sender<Arc<Batch>>,
    head: watch::Sender<i64>,
    source: watch::Sender<Source>,
    /// The last event that went through.
    position: i64,
    /// Present while the log is followed.
    listener: Option<Listener>,
    is_postgres_away: bool,
}

impl Feed {
    pub(crate) fn new(log: Log, pool: PgPool, nats: Option<async_nats::Client>) -> Self {
        let connection = Lasting::new(&pool, "feed", schema::LIVE);
        Self {
            log,
            pool,
            connection,
            nats,
            batches: broadcast::Sender::new(CAPACITY),
            head: watch::Sender::new(0),
            source: watch::Sender::new(Source::Log),
            position: 0,
            listener: None,
            is_postgres_away: false,
        }
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription { batches: self.batches.subscribe(), head: self.head.subscribe() }
    }

    pub(crate) fn source(&self) -> watch::Receiver<Source> {
        self.source.subscribe()
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(mut self) {
        self.begin().await;
        let mut messages: Option<Messages> = None;
        let mut opening = self.open();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut behind_at = None;
        let mut polled = Instant::now();
        self.follow(Source::Log);
        loop {
            let next = OptionFuture::from(messages.as_mut().map(StreamExt::next));
            tokio::select! {
                Some(chunk) = next => match chunk.map(|chunk| chunk.into_iter().collect::<Result<Vec<_>, _>>()) {
                    Some(Ok(chunk)) => self.take(&chunk).await,
                    ended => {
                        let reason = ended.and_then(Result::err).map(|error| error.to_string()).unwrap_or_default();
                        tracing::warn!(reason, "JetStream ended the flow of events; following the log in Postgres");
                        messages = None;
                        self.follow(Source::Log);
                        self.read().await;
                    }
                },
                Some(opened) = OptionFuture::from(opening.as_mut()) => {
                    opening = None;
                    match opened {
                        Ok(opened) => {
                            tracing::info!("following JetStream");
                            messages = Some(opened);
                            self.follow(Source::Nats);
                            // Only now: what comes later comes through the consumer.
                            self.read().await;
                        }
                        Err(error) => tracing::debug!(error, "JetStream cannot be followed"),
                    }
                }
                () = woken(self.listener.as_ref(), polled), if self.listener.is_some() => {
                    self.read().await;
                    polled = Instant::now();
                }
                _ = look.tick() => {
                    if messages.is_none() && opening.is_none() {
                        opening = self.open();
                    }
                    if *self.source.borrow() == Source::Nats {
                        behind_at = self.look(behind_at).await;
                    }
                }
            }
        }
    }

    /// Finds the end of the log, and tells the workers, whatever they had read before, that it is where this starts.
    async fn begin(&mut self) {
        loop {
            match self.ask(async |connection, _| log::head(connection).await).await {
                Some(head) => {
                    self.publish(Batch { after: head, last: head, entries: Vec::new() });
                    return;
                }
                None => sleep(POLL).await,
            }
        }
    }

    fn follow(&mut self, source: Source) {
        self.source.send_if_modified(|current| std::mem::replace(current, source) != source);
        match source {
            Source::Nats => self.listener = None,
            Source::Log => {
                self.listener.get_or_insert_with(|| Listener::start(&self.pool));
            }
        }
    }

    fn open(&self) -> Option<BoxFuture<'static, Result<Messages, OpenError>>> {
        let client = self.nats.clone().filter(|client| client.connection_state() == Connection::Connected)?;
        Some(Box::pin(open(client)))
    }

    /// Passes on what came from JetStream.
    async fn take(&mut self, messages: &[jetstream::Message]) {
        let mut batch =
            Batch { after: self.position, last: self.position, entries: Vec::with_capacity(messages.len()) };
        let mut is_complete = true;
        let mut newest = 0;
        for message in messages {
            match self.log.message(&message.payload) {
                Ok(entry) => {
                    newest = entry.position;
                    match entry.position - batch.last {
                        ..=0 => {}
                        1 => {
                            batch.last = entry.position;
                            batch.entries.push(entry);
                        }
                        2.. => is_complete = false,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, subject = %message.subject, "a message of JetStream is not an event");
                    is_complete = false;
                }
            }
            if !is_complete {
                break;
            }
        }
        if is_complete && newest >= self.position {
            // The relay is with the log again, if it was not.
            self.follow(Source::Nats);
        }
        if !batch.entries.is_empty() {
            self.publish(batch);
        }
        if !is_complete {
            tracing::debug!(position = self.position, "JetStream lacks events; reading them from the log");
            self.read().await;
        }
    }

    /// Passes on whatever the log has more.
    async fn read(&mut self) {
        loop {
            let read = self.ask(async |connection, feed| feed.0.after(feed.1, connection).await).await;
            match read {
                Some(batch) if !batch.entries.is_empty() => {
                    let is_last = batch.entries.len() < BATCH;
                    self.publish(batch);
                    if is_last {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Whether the log is ahead although JetStream is followed; then where that was, and the second time, with nothing in
    /// between, the log is followed until JetStream has caught up.
    async fn look(&mut self, behind_at: Option<i64>) -> Option<i64> {
        let head = self.ask(async |connection, _| log::head(connection).await).await?;
        self.head.send_if_modified(|known| head > std::mem::replace(known, head.max(*known)));
        if head <= self.position {
            return None;
        }
        if behind_at == Some(self.position) {
            tracing::warn!(head, position = self.position, "JetStream is silent; following the log in Postgres");
            self.follow(Source::Log);
            self.read().await;
            return None;
        }
        Some(self.position)
    }

    fn publish(&mut self, batch: Batch) {
        self.position = batch.last;
        self.head.send_if_modified(|head| batch.last > std::mem::replace(head, batch.last.max(*head)));
        // Nobody listens when all workers have stopped.
        let _ = self.batches.send(Arc::new(batch));
    }

    /// Asks Postgres; `None` when it is away, which is logged once.
    async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut sqlx::PgConnection, (&Log, i64)) -> Result<T, sqlx::Error>,
    ) -> Option<T> {
        let answer = timeout(READ, async {
            let connection = self.connection.get().await?;
            question(connection, (&self.log, self.position)).await
        });
        let error = match answer.await {
            Ok(Ok(answer)) => {
                if std::mem::take(&mut self.is_postgres_away) {
                    tracing::info!("the log can be read again");
                }
                return Some(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.connection.discard();
        if !std::mem::replace(&mut self.is_postgres_away, true) {
            tracing::warn!(error, "the log cannot be read; trying again");
        }
        None
    }
}

/// Until the log has grown, or it is time to see whether it has.
async fn woken(listener: Option<&Listener>, polled: Instant) {
    let notified = OptionFuture::from(listener.map(Listener::notified));
    tokio::select! {
        Some(()) = notified => {}
        () = tokio::time::sleep_until(polled + POLL) => {}
    }
}

/// Messages from now on. The consumer keeps nothing, and goes by itself when nobody pulls any more.
async fn open(client: async_nats::Client) -> Result<Messages, OpenError> {
    let mut jetstream = jetstream::new(client);
    jetstream.set_timeout(Duration::from_secs(2));
    let stream = jetstream.get_stream_no_info(STREAM).await?;
    let consumer = stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            inactive_threshold: Duration::from_secs(30),
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        })
        .await?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(BATCH)
        .expires(Duration::from_secs(30))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await?;
    Ok(Box::pin(messages.ready_chunks(BATCH)))
}
