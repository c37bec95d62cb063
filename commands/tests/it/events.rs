//! Reading the log: every filter against the plain definition of what it means, and logs that are large, odd or growing.

use std::time::Duration;

use commands::events::{
    self, Actors, Batch, Envelope, Filter, FilterError, ReadError, StoredEvent, Subject, page_within, position_at,
};
use domain::ids::ChannelId;
use futures::{StreamExt, TryStreamExt};
use sqlx::PgPool;
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::stage::Stage;

const BEGIN: OffsetDateTime = datetime!(2026-11-21 10:00 UTC);

/// An event as a test makes it; position and time follow from the order.
struct Made {
    aggregate_type: &'static str,
    aggregate_id: String,
    sequence: i64,
    event_type: &'static str,
    event_version: &'static str,
    payload: String,
}

impl Made {
    fn new(aggregate_type: &'static str, id: &str, sequence: i64, event_type: &'static str, payload: String) -> Self {
        Self { aggregate_type, aggregate_id: id.to_owned(), sequence, event_type, event_version: "1", payload }
    }
}

/// Puts events into the log, a millisecond after one another.
async fn put(pool: &PgPool, made: Vec<Made>) {
    let mut transaction = pool.begin().await.unwrap();
    for made in made {
        sqlx::query(
            "with head as (update log.head set position = position + 1 returning position) \
             insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                 metadata, recorded_at) \
             select position, $1, $2, $3, $4, $5, $6::json, '{\"actor\":\"system\"}', $7 + (position - 1) * interval '1 ms' \
                 from head",
        )
        .bind(made.aggregate_type)
        .bind(made.aggregate_id)
        .bind(made.sequence)
        .bind(made.event_type)
        .bind(made.event_version)
        .bind(made.payload)
        .bind(BEGIN)
        .execute(&mut *transaction)
        .await
        .unwrap();
    }
    transaction.commit().await.unwrap();
}

/// Puts `total` small events that are all of one type.
async fn put_many(pool: &PgPool, total: i64, payload: &str) {
    sqlx::query(
        "with head as (update log.head set position = position + $1 returning position - $1 as position) \
         insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
             metadata, recorded_at) \
         select position + n, 'member', gen_random_uuid()::text, 1, 'member.said', '1', $2::json, '{}', \
             $3 + (position + n - 1) * interval '1 ms' from head, generate_series(1, $1) n",
    )
    .bind(total)
    .bind(payload)
    .bind(BEGIN)
    .execute(pool)
    .await
    .unwrap();
}

fn positions(events: &[StoredEvent]) -> Vec<i64> {
    events.iter().map(|event| event.position).collect()
}

async fn all(pool: &PgPool, filter: &Filter) -> Vec<StoredEvent> {
    let batches: Vec<Batch> = events::batches(pool.clone(), filter.clone()).try_collect().await.unwrap();
    assert!(batches.windows(2).all(|pair| pair[0].reached < pair[1].reached));
    for batch in &batches {
        assert!(batch.events.iter().all(|event| event.position <= batch.reached));
    }
    let events: Vec<_> = batches.into_iter().flat_map(|batch| batch.events).collect();
    assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position));
    events
}

fn at(position: i64) -> OffsetDateTime {
    BEGIN + Duration::from_millis(1) * u32::try_from(position - 1).unwrap()
}

/// What a filter means.
type Wanted<'a> = Box<dyn Fn(&StoredEvent) -> bool + 'a>;

/// Channels with their streams, and accounts, interleaved.
async fn mixed(pool: &PgPool) -> [ChannelId; 2] {
    let channels = [1, 2].map(|number| ChannelId::from(Uuid::from_u128(number)));
    let mut made = Vec::new();
    for channel in channels {
        let payload = format!(r#"{{"Created":{{"channel_id":"{channel}","title":"T"}}}}"#);
        made.push(Made::new("channel", &channel.to_string(), 1, "channel.created", payload));
    }
    for round in 0..40_i64 {
        let channel = channels[usize::from(round % 3 == 0)];
        let stream = Uuid::now_v7().to_string();
        let started = format!(r#"{{"Started":{{"stream_id":"{stream}","channel_id":"{channel}","video":{{}}}}}}"#);
        made.push(Made::new("stream", &stream, 1, "stream.started", started));
        let account = Uuid::now_v7().to_string();
        made.push(Made::new("account", &account, 1, "account.registered", r#"{"Registered":{}}"#.to_owned()));
        let changed = format!(r#"{{"DetailsChanged":{{"channel_id":"{channel}"}}}}"#);
        made.push(Made::new("channel", &channel.to_string(), round + 2, "channel.details_changed", changed));
        made.push(Made::new("stream", &stream, 2, "stream.ended", r#"{"Ended":{"reason":"stopped"}}"#.to_owned()));
        // It names a channel, but not as what it belongs to.
        let export = format!(r#"{{"Requested":{{"filter":{{"channel_id":"{channel}"}}}}}}"#);
        made.push(Made::new("export", &Uuid::now_v7().to_string(), 1, "export.requested", export));
        let text = r#"{"Told":{"text":"\"channel_id\":\"00000000-0000-0000-0000-000000000001\""}}"#;
        made.push(Made::new("rumour", &Uuid::now_v7().to_string(), 1, "rumour.told", text.to_owned()));
    }
    put(pool, made).await;
    channels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_mean_what_they_say() {
    let stage = Stage::new().await;
    let channels = mixed(&stage.pool).await;
    let log = all(&stage.pool, &Filter::default()).await;
    assert_eq!(log.len(), 242);
    let of_channel = |event: &StoredEvent| {
        let channel = format!(r#":{{"channel_id":"{}""#, channels[1]);
        let stream = format!(r#","channel_id":"{}""#, channels[1]);
        let streams: Vec<_> =
            log.iter().filter(|event| event.payload.get().contains(&stream)).map(|event| &event.aggregate_id).collect();
        match event.aggregate_type.as_str() {
            "channel" => event.payload.get().contains(&channel),
            "stream" => streams.contains(&&event.aggregate_id),
            _ => false,
        }
    };
    let stream = Subject { aggregate_type: "stream".to_owned(), aggregate_id: log[2].aggregate_id.clone() };
    let types = |types: &[&str]| types.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let everything = Filter::default();
    let cases: Vec<(Filter, Wanted<'_>)> = vec![
        (everything.clone(), Box::new(|_| true)),
        (
            Filter { after: 17, until: Some(20), ..everything.clone() },
            Box::new(|event| (18..=20).contains(&event.position)),
        ),
        (Filter { after: 20, until: Some(20), ..everything.clone() }, Box::new(|_| false)),
        (Filter { until: Some(i64::MAX), ..everything.clone() }, Box::new(|_| true)),
        (Filter { after: i64::MAX, ..everything.clone() }, Box::new(|_| false)),
        (Filter { after: 242, ..everything.clone() }, Box::new(|_| false)),
        (
            Filter { types: types(&["channel.*", "stream.ended"]), ..everything.clone() },
            Box::new(|event| event.aggregate_type == "channel" || event.event_type == "stream.ended"),
        ),
        (Filter { types: types(&["nothing.such"]), ..everything.clone() }, Box::new(|_| false)),
        (
            Filter { from: Some(at(5)), to: Some(at(9)), ..everything.clone() },
            Box::new(|event| (5..9).contains(&event.position)),
        ),
        (
            Filter {
                from: Some(at(5) + Duration::from_nanos(1)),
                to: Some(at(9) + Duration::from_nanos(1)),
                ..everything.clone()
            },
            Box::new(|event| (6..=9).contains(&event.position)),
        ),
        (
            Filter { from: Some(datetime!(9999-12-31 23:59:59.999_999_999 UTC)), ..everything.clone() },
            Box::new(|_| false),
        ),
        (
            Filter { from: Some(datetime!(9999-12-31 23:59:59.999_999_999 -23)), ..everything.clone() },
            Box::new(|_| false),
        ),
        (Filter { from: Some(datetime!(-9999-01-01 0:00 +23)), ..everything.clone() }, Box::new(|_| true)),
        (Filter { to: Some(datetime!(0001-01-01 0:00 UTC)), ..everything.clone() }, Box::new(|_| false)),
        (
            Filter { subject: Some(stream.clone()), ..everything.clone() },
            Box::new(|event| event.aggregate_id == stream.aggregate_id),
        ),
        (
            Filter { subject: Some(stream.clone()), after: 3, ..everything.clone() },
            Box::new(|event| event.aggregate_id == stream.aggregate_id && event.position > 3),
        ),
        (Filter { channel: Some(channels[1]), ..everything.clone() }, Box::new(of_channel)),
        (
            Filter {
                channel: Some(channels[1]),
                types: types(&["stream.*"]),
                after: 30,
                until: Some(200),
                ..everything.clone()
            },
            Box::new(|event| {
                of_channel(event) && event.aggregate_type == "stream" && (31..=200).contains(&event.position)
            }),
        ),
        (Filter { channel: Some(ChannelId::from(Uuid::nil())), ..everything.clone() }, Box::new(|_| false)),
        (
            Filter { channel: Some(channels[1]), subject: Some(stream.clone()), ..everything },
            Box::new(|event| of_channel(event) && event.aggregate_id == stream.aggregate_id),
        ),
    ];
    let mut found_total = 0;
    for (filter, is_wanted) in cases {
        let expected: Vec<i64> = log.iter().filter(|event| is_wanted(event)).map(|event| event.position).collect();
        assert_eq!(positions(&all(&stage.pool, &filter).await), expected, "{filter:?}");
        for limit in [1, 7, 1_000] {
            let page = events::page(&stage.pool, &filter, limit).await.unwrap();
            let first: Vec<i64> = expected.iter().copied().take(usize::try_from(limit).unwrap()).collect();
            assert_eq!(positions(&page), first, "{filter:?}, {limit}");
        }
        found_total += expected.len();
    }
    assert!(found_total > 800);
    assert!(events::page(&stage.pool, &Filter::default(), -1).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_is_found_where_it_lies() {
    let stage = Stage::new().await;
    assert_eq!(position_at(&stage.pool, BEGIN).await.unwrap(), 0);
    put_many(&stage.pool, 1_000, "{}").await;
    for position in [1, 2, 3, 500, 999, 1_000] {
        let time = at(position);
        assert_eq!(position_at(&stage.pool, time).await.unwrap(), position);
        assert_eq!(position_at(&stage.pool, time + Duration::from_nanos(999_999)).await.unwrap(), position);
        assert_eq!(position_at(&stage.pool, time - Duration::from_nanos(1)).await.unwrap(), position - 1);
    }
    assert_eq!(position_at(&stage.pool, datetime!(-9999-01-01 0:00 UTC)).await.unwrap(), 0);
    assert_eq!(position_at(&stage.pool, datetime!(9999-12-31 23:59:59.999_999_999 UTC)).await.unwrap(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_in_much_is_looked_for_step_by_step() {
    let stage = Stage::new().await;
    put_many(&stage.pool, 120_000, "{}").await;
    let payload = r#"{"Registered":{}}"#.to_owned();
    put(&stage.pool, vec![Made::new("account", "1", 1, "account.registered", payload)]).await;
    put_many(&stage.pool, 20_000, "{}").await;
    let filter = Filter { types: vec!["account.*".to_owned()], ..Filter::default() };
    let batches: Vec<Batch> = events::batches(stage.pool.clone(), filter.clone()).try_collect().await.unwrap();
    assert!(batches.len() >= 3);
    assert_eq!(batches.last().unwrap().reached, 140_001);
    assert_eq!(batches.iter().map(|batch| batch.events.len()).sum::<usize>(), 1);

    let page = page_within(&stage.pool, &filter, 10, Duration::ZERO).await.unwrap();
    assert_eq!((page.events.len(), page.reached), (0, 0));
    let page = page_within(&stage.pool, &filter, 1, Duration::MAX).await.unwrap();
    assert_eq!((positions(&page.events), page.reached), (vec![120_001], 120_001));
    let after = Filter { after: page.reached, ..filter };
    let page = page_within(&stage.pool, &after, 1, Duration::MAX).await.unwrap();
    assert_eq!((page.events.len(), page.reached), (0, 140_001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_bounded_in_bytes_and_lose_nothing() {
    let stage = Stage::new().await;
    put_many(&stage.pool, 3_000, "{}").await;
    put_many(&stage.pool, 100, &format!(r#"{{"Said":{{"text":"{}"}}}}"#, "x".repeat(100_000))).await;
    put_many(&stage.pool, 3_000, "{}").await;
    let mut seen = 0;
    let mut batches = std::pin::pin!(events::batches(stage.pool.clone(), Filter::default()));
    while let Some(batch) = batches.try_next().await.unwrap() {
        let size: usize = batch.events.iter().map(|event| event.payload.get().len()).sum();
        assert!(size < 3 * 1024 * 1024, "{size}");
        assert!(batch.events.len() <= 4_000);
        assert!(batch.events.iter().map(|event| event.position).eq(seen + 1..=batch.reached));
        seen = batch.reached;
    }
    assert_eq!(seen, 6_100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_where_the_log_ended_when_it_began_and_holds_no_connection() {
    let stage = Stage::new().await;
    put_many(&stage.pool, 5_000, "{}").await;
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&stage.url).await.unwrap();
    let mut batches = std::pin::pin!(events::batches(pool.clone(), Filter::default()));
    let first = batches.try_next().await.unwrap().unwrap();
    put_many(&stage.pool, 100, "{}").await;
    // With one batch read ahead and the reader asleep, the only connection is free.
    sqlx::query("select 1").execute(&pool).await.unwrap();
    let rest: Vec<Batch> = batches.try_collect().await.unwrap();
    assert_eq!(first.events.len() + rest.iter().map(|batch| batch.events.len()).sum::<usize>(), 5_000);

    // One that is dropped in the middle keeps nothing back.
    for _ in 0..20 {
        let mut batches = std::pin::pin!(events::batches(pool.clone(), Filter::default()));
        batches.next().await.unwrap().unwrap();
    }
    sqlx::query("select 1").execute(&pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_match_is_refused() {
    let stage = Stage::new().await;
    for (filter, error) in [
        (Filter { after: -1, ..Filter::default() }, FilterError::Position { position: -1 }),
        (Filter { after: 3, until: Some(2), ..Filter::default() }, FilterError::Positions { after: 3, until: 2 }),
        (
            Filter { from: Some(at(2)), to: Some(at(1)), ..Filter::default() },
            FilterError::Times { from: at(2), to: at(1) },
        ),
        (
            Filter { types: vec!["Robert'); drop table".to_owned()], ..Filter::default() },
            FilterError::Type { given: "Robert'); drop table".to_owned() },
        ),
    ] {
        assert_eq!(filter.check(), Err(error.clone()));
        let mut batches = std::pin::pin!(events::batches(stage.pool.clone(), filter.clone()));
        let refused = batches.next().await.unwrap();
        assert!(matches!(refused, Err(ReadError::Filter(ref refused)) if *refused == error), "{refused:?}");
        assert!(batches.next().await.is_none());
        let refused = page_within(&stage.pool, &filter, 1, Duration::MAX).await;
        assert!(matches!(refused, Err(ReadError::Filter(ref refused)) if *refused == error), "{refused:?}");
    }
}

/// Damage, versions and types of a later build: delivered as they are, each as JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_build_does_not_understand_is_delivered() {
    let stage = Stage::new().await;
    let odd =
        ["null", "\"Unit\"", "[1, 2]", "{}", "12", "{\"One\": 1,\n \"Two\": 2}", "{ \"Created\" : { \"x\" : [ ] } }"];
    let mut made: Vec<_> = odd
        .iter()
        .zip(1..)
        .map(|(payload, sequence)| Made::new("channel", "1", sequence, "channel.created", (*payload).to_owned()))
        .collect();
    made.push(Made {
        event_version: "99",
        ..Made::new("raid", "1", 1, "raid.begun", r#"{"Begun":{"to":7}}"#.to_owned())
    });
    put(&stage.pool, made).await;
    let mut envelope = Envelope::new("https://weir.example.org", Actors::Plain);
    let data: Vec<serde_json::Value> = all(&stage.pool, &Filter::default())
        .await
        .iter()
        .map(|event| {
            let mut out = Vec::new();
            envelope.write(event, &mut out);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()["data"].take()
        })
        .collect();
    let mut expected: Vec<serde_json::Value> =
        odd.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
    expected[6] = serde_json::json!({"x": []});
    expected.push(serde_json::json!({"to": 7}));
    assert_eq!(data, expected);
}

#[tokio::test]
async fn the_last_suspension_of_each_account_is_found_by_index() {
    let stage = Stage::new().await;
    let event = |id, sequence, name| Made::new("account", id, sequence, name, "{}".to_owned());
    let made = vec![
        event("a", 1, "account.suspended"),
        event("b", 1, "account.suspended"),
        event("a", 2, "account.reinstated"),
        event("b", 2, "account.changed"),
        event("a", 3, "account.suspended"),
    ];
    put(&stage.pool, made).await;
    for (after, until, limit, expected) in
        [(0, 9, 9, vec![2, 5]), (0, 4, 9, vec![2, 3]), (2, 9, 9, vec![5]), (0, 9, 1, vec![2]), (5, 9, 9, vec![])]
    {
        let found = events::last_suspensions(&stage.pool, after, until, limit).await.unwrap();
        let found: Vec<i64> = found.iter().map(|event| event.position).collect();
        assert_eq!(found, expected, "{after} {until} {limit}");
    }
    let mut connection = stage.pool.acquire().await.unwrap();
    sqlx::raw_sql("set enable_seqscan = off").execute(&mut *connection).await.unwrap();
    let explain = "explain select position from log.events event
        where event_type in ('account.suspended', 'account.reinstated') and position > 0 and position <= 1000
        order by position limit 1000";
    let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut *connection).await.unwrap();
    assert!(plan.join("\n").contains("events_of_suspensions"), "{plan:?}");
}
