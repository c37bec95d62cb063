//! The log as it grows: server-sent events (HTML Standard, section 9.2).
//!
//! A subscriber reads what is past from the log by itself, then takes what the node's one [`Follower`](super::follower)
//! passes on. When it is slower than the log for a while, it reads by itself again. Each has a task and a queue of its
//! own, so a slow one waits for nobody but itself, and is cut when it takes nothing for too long.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use commands::events::{self, Envelope, Filter, StoredEvent};
use domain::ids::ChannelId;
use futures::StreamExt;
use openapi::events::{ActorNames, EVENT_STREAM};
use serde::Deserialize;
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::debug;

use super::{
    follower::{Grown, Listening},
    limits::Place,
    rights::Reader,
    selection::Selection,
};
use crate::server::Server;

/// How much is handed to the connection at once, but for the last event of it.
const PART_BYTES: usize = 32 * 1024;
/// How many parts wait for the connection.
const WAITING_PARTS: usize = 8;
/// How many events are read at once of what is past.
const READ_LEN: usize = 500;
/// How long one look into what is past may take: a subscriber is told how far it is in between.
const READ_BUDGET: Duration = Duration::from_secs(2);
/// How often a subscriber that reads what is past is asked whether it still may.
const CHECKED_EVERY: Duration = Duration::from_secs(2);
/// How long it waits when the log does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Why a subscription ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Gone,
    Stalled,
    Stopping,
    RightLost,
    /// Nothing more is handed out, not even what waits.
    SessionOver,
}

impl End {
    /// What the client is told last.
    fn words(self) -> &'static str {
        match self {
            Self::Gone => "",
            Self::Stalled => ": cut: nothing was taken for too long; go on from the last id\n\n",
            Self::Stopping => "retry: 1000\n: this node stops; go on from the last id\n\n",
            Self::RightLost | Self::SessionOver => {
                ": ended: the session is over, or these events may be read no more\n\n"
            }
        }
    }
}

/// Answers with the events that `selection` wants, until somebody hangs up. `place` is held as long.
pub(crate) fn answer(server: &Arc<Server>, selection: Selection, head: i64, place: Place) -> Response {
    let Selection { filter, actors, reader } = selection;
    let (parts, waiting) = mpsc::channel(WAITING_PARTS);
    let ended = Arc::new(OnceLock::new());
    let subscription = Subscription {
        reached: filter.after,
        envelope: server.envelope(actors),
        is_plain: actors == ActorNames::Plain,
        server: Arc::clone(server),
        reader,
        filter,
        parts,
        unsent: Vec::new(),
        silent_since: Instant::now(),
        checked: Instant::now(),
        _place: place,
    };
    tokio::spawn(subscription.run(Arc::clone(&ended)));
    response(head, body(waiting, ended))
}

/// The answer to a question for the headers alone.
pub(crate) fn headers_only(head: i64) -> Response {
    response(head, Body::empty())
}

fn response(head: i64, body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(super::HEAD_POSITION, HeaderValue::from(head));
    // nginx would collect what must not wait.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn body(waiting: mpsc::Receiver<Bytes>, ended: Arc<OnceLock<End>>) -> Body {
    let parts = futures::stream::unfold((waiting, Arc::clone(&ended)), |(mut waiting, ended)| async {
        if ended.get() == Some(&End::SessionOver) {
            return None;
        }
        let part = waiting.recv().await?;
        Some((part, (waiting, ended)))
    });
    let last = futures::stream::once(async move {
        let words = ended.get().copied().unwrap_or(End::Stopping).words();
        Bytes::from_static(words.as_bytes())
    });
    Body::from_stream(parts.chain(last).map(Ok::<_, std::convert::Infallible>))
}

struct Subscription {
    server: Arc<Server>,
    reader: Reader,
    filter: Filter,
    /// Every wanted event up to here is sent, or in `unsent`.
    reached: i64,
    envelope: Envelope,
    is_plain: bool,
    parts: mpsc::Sender<Bytes>,
    unsent: Vec<u8>,
    silent_since: Instant,
    checked: Instant,
    _place: Place,
}

/// Has the feed's metrics told from the start, before anybody follows it.
pub(crate) fn tell_metrics() {
    metrics::gauge!("weir_feed_subscribers").set(0.0);
    metrics::counter!("weir_feed_cut_total").increment(0);
}

impl Subscription {
    async fn run(mut self, ended: Arc<OnceLock<End>>) {
        metrics::gauge!("weir_feed_subscribers").increment(1.0);
        let end = match self.follow().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if end == End::Stalled {
            metrics::counter!("weir_feed_cut_total").increment(1);
        }
        debug!(?end, position = self.reached, account.id = %self.reader.account_id, "a subscription to the feed ended");
        // Nobody else sets it. The body reads it once the sender is gone.
        let _ = ended.set(end);
        metrics::gauge!("weir_feed_subscribers").decrement(1.0);
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        // Something at once, so that the client sees the answer begin.
        self.unsent.extend_from_slice(b"retry: 1000\n: the event feed of Weir\n\n");
        self.flush().await?;
        loop {
            let mut listening = self.server.follower.join();
            let tip = loop {
                let silent_until = self.silent_until();
                tokio::select! {
                    biased;
                    () = self.server.stopping.cancelled() => return Err(End::Stopping),
                    () = self.reader.signed_out(&self.server) => return Err(End::SessionOver),
                    () = self.parts.closed() => return Err(End::Gone),
                    tip = listening.tip() => break tip,
                    () = sleep_until(silent_until) => self.heartbeat().await?,
                }
            };
            let Some(tip) = tip else {
                sleep(RETRY).await;
                continue;
            };
            self.read_past(tip).await?;
            self.caught_up().await?;
            self.listen(&mut listening).await?;
        }
    }

    /// Sends what the log has up to `tip`.
    async fn read_past(&mut self, tip: i64) -> Result<(), End> {
        while self.reached < tip {
            let server = Arc::clone(&self.server);
            let filter = Filter { after: self.reached, until: Some(tip), ..self.filter.clone() };
            let read = async {
                // Held while it reads, not while the client takes it in.
                let _turn = server.reading_past.acquire().await;
                events::page_within(server.commands.pool(), &filter, READ_LEN, READ_BUDGET).await
            };
            let found = tokio::select! {
                biased;
                () = self.server.stopping.cancelled() => return Err(End::Stopping),
                () = self.reader.signed_out(&self.server) => return Err(End::SessionOver),
                () = self.parts.closed() => return Err(End::Gone),
                found = read => found,
            };
            match found {
                Ok(batch) => {
                    for event in &batch.events {
                        self.tell(event, |envelope, out| envelope.write(event, out)).await?;
                    }
                    self.reached = batch.reached;
                    self.flush().await?;
                }
                Err(error) => {
                    debug!(error = &error as &dyn std::error::Error, "a subscription waits for the log");
                    sleep(RETRY).await;
                }
            }
            if self.checked.elapsed() >= CHECKED_EVERY {
                self.check().await?;
            }
            if Instant::now() >= self.silent_until() {
                self.heartbeat().await?;
            }
        }
        Ok(())
    }

    /// Sends what is passed on; returns when something was missed.
    async fn listen(&mut self, listening: &mut Listening) -> Result<(), End> {
        loop {
            let silent_until = self.silent_until();
            tokio::select! {
                biased;
                () = self.server.stopping.cancelled() => return Err(End::Stopping),
                () = self.reader.signed_out(&self.server) => return Err(End::SessionOver),
                () = self.parts.closed() => return Err(End::Gone),
                grown = listening.grown.recv() => match grown {
                    Ok(grown) if grown.after > self.reached => return Ok(()),
                    Ok(grown) => self.take(&grown).await?,
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Ok(()),
                },
                () = sleep_until(silent_until) => {
                    self.heartbeat().await?;
                    // What ends a right is an event, and events come; this is for rights that ended without one.
                    self.check().await?;
                }
            }
        }
    }

    async fn take(&mut self, grown: &Grown) -> Result<(), End> {
        let is_plain = self.is_plain;
        for told in &grown.events {
            let event = &told.event;
            if event.position <= self.reached {
                continue;
            }
            if wants(&self.filter, event) {
                let write = |envelope: &mut Envelope, out: &mut Vec<u8>| match is_plain {
                    true => envelope.write(event, out),
                    false => told.write_pseudonymous(envelope, out),
                };
                self.tell(event, write).await?;
            }
            self.reached = event.position;
            if self.reader.is_ended_by(event) {
                self.flush().await?;
                return Err(End::RightLost);
            }
        }
        self.flush().await
    }

    /// Writes one event, and sends when that makes a part.
    async fn tell(&mut self, event: &StoredEvent, write: impl FnOnce(&mut Envelope, &mut Vec<u8>)) -> Result<(), End> {
        // A type of the log has no line breaks; one that had could not be told by its name.
        let name = if event.event_type.contains(['\n', '\r']) { "" } else { &event.event_type };
        self.unsent.extend_from_slice(format!("id: {}\nevent: {name}\ndata: ", event.position).as_bytes());
        write(&mut self.envelope, &mut self.unsent);
        self.unsent.extend_from_slice(b"\n\n");
        if self.unsent.len() >= PART_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn caught_up(&mut self) -> Result<(), End> {
        let reached = self.reached;
        let event = format!("id: {reached}\nevent: caught_up\ndata: {{\"position\":{reached}}}\n\n");
        self.unsent.extend_from_slice(event.as_bytes());
        self.flush().await
    }

    /// A sign of life that dispatches nothing, but moves the client's last id to what was looked through: so it does not
    /// look through it again when it comes back.
    async fn heartbeat(&mut self) -> Result<(), End> {
        self.unsent.extend_from_slice(format!(": heartbeat\nid: {}\n\n", self.reached).as_bytes());
        self.flush().await
    }

    async fn check(&mut self) -> Result<(), End> {
        self.checked = Instant::now();
        // When it cannot be said at the moment, nothing can be read either.
        match self.reader.still_may(&self.server).await {
            Ok(false) => Err(End::RightLost),
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// Hands what is written to the connection; waits for room.
    async fn flush(&mut self) -> Result<(), End> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let room = tokio::select! {
            biased;
            () = self.server.stopping.cancelled() => return Err(End::Stopping),
            () = self.reader.signed_out(&self.server) => return Err(End::SessionOver),
            room = timeout(self.server.feed.stalled, self.parts.reserve()) => room,
        };
        match room {
            Ok(Ok(room)) => room.send(std::mem::take(&mut self.unsent).into()),
            Ok(Err(_)) => return Err(End::Gone),
            Err(_) => return Err(End::Stalled),
        }
        self.silent_since = Instant::now();
        Ok(())
    }

    fn silent_until(&self) -> Instant {
        self.silent_since + self.server.feed.heartbeat
    }
}

/// Whether `filter`, but for its positions, wants an event that was passed on.
fn wants(filter: &Filter, event: &StoredEvent) -> bool {
    let of_subject = filter.subject.as_ref().is_none_or(|subject| {
        subject.aggregate_id == event.aggregate_id && subject.aggregate_type == event.aggregate_type
    });
    filter.wants_type(&event.event_type) && of_subject && filter.channel.is_none_or(|channel| is_of(channel, event))
}

/// Whether an event is one of a channel: its own, or of something that names it as what it belongs to.
fn is_of(channel_id: ChannelId, event: &StoredEvent) -> bool {
    #[derive(Deserialize)]
    struct Named {
        channel_id: Option<ChannelId>,
    }
    if event.aggregate_type == "channel" {
        return event.aggregate_id.parse() == Ok(channel_id);
    }
    // Cheap, and nearly always the answer.
    if !event.payload.get().contains(&channel_id.to_string()) {
        return false;
    }
    let tagged: Option<std::collections::HashMap<&str, Named>> = serde_json::from_str(event.payload.get()).ok();
    tagged.is_some_and(|tagged| tagged.values().any(|named| named.channel_id == Some(channel_id)))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn event(aggregate: (&str, u128), event_type: &str, payload: &str) -> StoredEvent {
        StoredEvent {
            position: 1,
            aggregate_type: aggregate.0.to_owned(),
            aggregate_id: Uuid::from_u128(aggregate.1).to_string(),
            sequence: 1,
            event_type: event_type.to_owned(),
            event_version: "1".to_owned(),
            payload: RawValue::from_string(payload.to_owned()).unwrap().into(),
            metadata: RawValue::from_string("{}".to_owned()).unwrap().into(),
            recorded_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_channel_has_its_own_events_and_those_that_name_it() {
        let river = ChannelId::from(Uuid::from_u128(5));
        let filter = Filter { channel: Some(river), ..Filter::default() };
        let own = event(("channel", 5), "channel.created", "{}");
        let stream = event(("stream", 6), "stream.ended", &format!(r#"{{"Ended":{{"channel_id":"{river}"}}}}"#));
        let title = event(("stream", 7), "stream.started", &format!(r#"{{"Started":{{"title":"{river}"}}}}"#));
        let nested = event(
            ("export", 8),
            "export.requested",
            &format!(r#"{{"Requested":{{"filter":{{"channel_id":"{river}"}}}}}}"#),
        );
        let other = event(("channel", 9), "channel.created", "{}");
        let wanted = [&own, &stream, &title, &nested, &other].map(|event| wants(&filter, event));
        assert_eq!(wanted, [true, true, false, false, false]);
    }

    #[test]
    fn types_and_subjects_narrow_it_down() {
        let own = event(("channel", 5), "channel.created", "{}");
        let of = |types: &[&str], subject: Option<&str>| Filter {
            types: types.iter().map(|&text| text.to_owned()).collect(),
            subject: subject.map(|subject| subject.parse().unwrap()),
            ..Filter::default()
        };
        let subject = format!("channel/{}", Uuid::from_u128(5));
        assert!(wants(&of(&[], None), &own));
        assert!(wants(&of(&["channel.*"], Some(&subject)), &own));
        assert!(!wants(&of(&["stream.*"], None), &own));
        assert!(!wants(&of(&[], Some(&subject.replace("channel", "stream"))), &own));
    }
}
