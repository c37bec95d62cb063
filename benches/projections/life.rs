//! A log of a platform that has been alive for a while, put there as fast as Postgres takes it.

use std::sync::Arc;

use commands::AccountKeys;
use domain::{
    DomainEvent, Event,
    accounts::{AccountEvent, SessionEndReason, SessionEvent},
    channels::{ChannelEvent, Description, Handle, Title},
    ids::{AccountId, ChannelId, NodeId, SessionId, StreamId},
    sealed::Sealed,
    streams::{AudioTrack, EndReason, StreamEvent, VideoTrack},
};
use futures::{StreamExt, stream};
use sqlx::PgPool;
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

const BEGIN: OffsetDateTime = datetime!(2026-01-01 10:00:00.123_456 UTC);
/// So many people live at the same time: events about the same thing are so far from each other.
const AT_ONCE: usize = 2_000;
/// What happens to each: a person registers, signs in twice and out once, makes a channel, changes it four times, rotates its key
/// and streams five times.
pub(crate) const STEPS: usize = 20;

struct Person {
    number: usize,
    account_id: AccountId,
    username: Sealed,
    email: Sealed,
    session: SessionId,
    channel_id: ChannelId,
    stream: StreamId,
}

/// Appends `total` events, sealed as Weir seals them.
pub(crate) async fn live(pool: &PgPool, keys: &Arc<AccountKeys>, total: usize) {
    let mut position = 0;
    let mut number = 0;
    while position < total {
        let mut people: Vec<Person> = stream::iter(number..number + AT_ONCE.min(total.div_ceil(STEPS)))
            .map(|number| person(keys, number))
            .buffered(16)
            .collect()
            .await;
        number += people.len();
        for step in 0..STEPS {
            let at = BEGIN + Duration::seconds(i64::try_from(position / 100).unwrap());
            let events = people.iter_mut().map(|person| happens(person, step, at)).take(total - position);
            position = append(pool, position, events.collect()).await;
        }
    }
    sqlx::query("update log.head set position = $1").bind(i64::try_from(total).unwrap()).execute(pool).await.unwrap();
    sqlx::raw_sql("vacuum analyze log.events").execute(pool).await.unwrap();
}

fn new<T: From<Uuid>>() -> T {
    Uuid::now_v7().into()
}

async fn person(keys: &Arc<AccountKeys>, number: usize) -> Person {
    let account_id = new();
    let username = keys.seal(account_id, &format!("person_{number}")).await.unwrap();
    let email = keys.seal(account_id, &format!("person_{number}@example.org")).await.unwrap();
    Person { number, account_id, username, email, session: new(), channel_id: new(), stream: new() }
}

/// The event, with its aggregate's id and its place among that one's.
fn happens(person: &mut Person, step: usize, at: OffsetDateTime) -> (DomainEvent, Uuid, i64) {
    let (account_id, channel_id, number) = (person.account_id, person.channel_id, person.number);
    let session = |event| DomainEvent::Session(event);
    let channel = |event, sequence| (DomainEvent::Channel(event), channel_id.uuid(), sequence);
    match step {
        0 => {
            let event = AccountEvent::Registered {
                account_id,
                username: person.username.clone(),
                username_digest: format!("{number:064x}"),
                email: person.email.clone(),
                password: new(),
                is_administrator: false,
                setup_token_digest: None,
                registered_at: at,
            };
            (DomainEvent::Account(event), account_id.uuid(), 1)
        }
        1 | 10 => {
            person.session = new();
            let event = SessionEvent::Opened {
                session_id: person.session,
                account_id,
                user_agent: person.email.clone(),
                address: person.username.clone(),
                opened_at: at,
            };
            (session(event), person.session.uuid(), 1)
        }
        9 => {
            let reason = SessionEndReason::SignedOut;
            let event = SessionEvent::Ended { session_id: person.session, account_id, reason, ended_at: at };
            (session(event), person.session.uuid(), 2)
        }
        2 => channel(
            ChannelEvent::Created {
                channel_id,
                owner_id: account_id,
                handle: Handle::parse(&format!("person_{number}")).unwrap(),
                title: Title::parse("What I see from my window").unwrap(),
                description: Description::parse("Ships, harbours,\nand the weather over them.").unwrap(),
                stream_key: new(),
                created_at: at,
            },
            1,
        ),
        3 | 8 | 13 | 16 => {
            let sequence = [3, 8, 13, 16].iter().position(|other| *other == step).unwrap() + 2;
            channel(
                ChannelEvent::DetailsChanged {
                    channel_id,
                    title: Title::parse(&format!("What I see from my window, part {sequence}")).unwrap(),
                    description: Description::parse("Ships, harbours,\nand the weather over them.").unwrap(),
                    changed_at: at,
                },
                i64::try_from(sequence).unwrap(),
            )
        }
        19 => channel(ChannelEvent::StreamKeyRotated { channel_id, stream_key: new(), rotated_at: at }, 6),
        4 | 6 | 11 | 14 | 17 => {
            person.stream = new();
            let event = StreamEvent::Started {
                stream_id: person.stream,
                channel_id,
                node_id: NodeId::from(Uuid::nil()),
                title: "What I see from my window".to_owned(),
                video: Some(VideoTrack {
                    codec: "avc1.64001f".to_owned(),
                    width: 1_920,
                    height: 1_080,
                    frame_rate: 30.0,
                }),
                audio: Some(AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }),
                encoder: None,
                started_at: at,
            };
            (DomainEvent::Stream(event), person.stream.uuid(), 1)
        }
        _ => {
            let event = StreamEvent::Ended {
                stream_id: person.stream,
                channel_id,
                reason: EndReason::Unpublished,
                ended_at: at,
                duration_ms: 61_000,
            };
            (DomainEvent::Stream(event), person.stream.uuid(), 2)
        }
    }
}

/// The position of the last.
async fn append(pool: &PgPool, position: usize, events: Vec<(DomainEvent, Uuid, i64)>) -> usize {
    fn json<E: Event>(event: &E) -> String {
        serde_json::to_string(event).unwrap()
    }
    let (mut aggregates, mut ids, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
    let (mut types, mut versions, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
    for (event, id, sequence) in &events {
        let (aggregate, _) = event.event_type().split_once('.').unwrap();
        aggregates.push(aggregate);
        ids.push(id.to_string());
        sequences.push(*sequence);
        types.push(event.event_type());
        versions.push(event.event_version());
        payloads.push(match event {
            DomainEvent::Account(event) => json(event),
            DomainEvent::Session(event) => json(event),
            DomainEvent::Channel(event) => json(event),
            DomainEvent::Stream(event) => json(event),
            other => panic!("nobody in this benchmark does {}", other.event_type()),
        });
    }
    sqlx::query(
        "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
             metadata)
         select $1 + ordinality, aggregate_type, id, sequence, event_type, version, payload::json,
             '{\"actor\": \"account:018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f\", \"correlation_id\": \"018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f\"}'
         from unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
             with ordinality as t (aggregate_type, id, sequence, event_type, version, payload, ordinality)",
    )
    .bind(i64::try_from(position).unwrap())
    .bind(aggregates)
    .bind(ids)
    .bind(sequences)
    .bind(types)
    .bind(versions)
    .bind(payloads)
    .execute(pool)
    .await
    .unwrap();
    position + events.len()
}
