//! The queries of docs/analysts.md, run by DuckDB over a file that the binary wrote from a known log.

use std::{
    path::Path,
    process::{Command, Output},
};

use domain::{
    Aggregate, Event,
    accounts::{Account, AccountEvent},
    channels::{Channel, ChannelEvent, Description, Handle, Title},
    ids::{AccountId, ChannelId, NodeId, SecretId, StreamId},
    sealed::Sealed,
    streams::{AudioTrack, EncoderName, EndReason, Stream, StreamEvent, VideoTrack},
};
use sqlx::PgPool;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

const OBS: &str = "obs-output module (libobs version 31.0.1)";
const OLD_OBS: &str = "obs-output module (libobs version 30.2.3)";
const FFMPEG: &str = "Lavf61.7.100";

/// An event as the log has it.
struct Row {
    aggregate_type: &'static str,
    aggregate_id: String,
    event_type: &'static str,
    version: &'static str,
    payload: serde_json::Value,
    actor: String,
    at: OffsetDateTime,
}

fn at(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(&format!("2026-03-{text}:00Z"), &Rfc3339).unwrap()
}

fn id<T: From<Uuid>>(number: u128) -> T {
    Uuid::from_u128(0x0193_5a3c_0000_7000_8000_0000_0000_0000 + number).into()
}

fn row<A: Aggregate>(aggregate_id: String, event: &A::Event, actor: String, at: OffsetDateTime) -> Row {
    Row {
        aggregate_type: A::TYPE,
        aggregate_id,
        event_type: event.event_type(),
        version: event.event_version(),
        payload: serde_json::to_value(event).unwrap(),
        actor,
        at,
    }
}

fn registered(person: u128, when: &str) -> Row {
    let account_id: AccountId = id(person);
    let sealed = || Sealed { account_id, ciphertext: vec![7; 40] };
    let event = AccountEvent::Registered {
        account_id,
        username: sealed(),
        username_digest: format!("{person:064x}"),
        email: sealed(),
        password: id::<SecretId>(900 + person),
        is_administrator: false,
        setup_token_digest: None,
        registered_at: at(when),
    };
    row::<Account>(account_id.to_string(), &event, "system".to_owned(), at(when))
}

fn created(channel: u128, owner: u128, handle: &str, when: &str) -> Row {
    let (channel_id, owner_id): (ChannelId, AccountId) = (id(channel), id(owner));
    let event = ChannelEvent::Created {
        channel_id,
        owner_id,
        handle: Handle::parse(handle).unwrap(),
        title: Title::parse("A \"title\", with a comma").unwrap(),
        description: Description::parse("two\nlines").unwrap(),
        stream_key: id::<SecretId>(800 + channel),
        created_at: at(when),
    };
    row::<Channel>(channel_id.to_string(), &event, format!("account:{owner_id}"), at(when))
}

fn started(stream: u128, channel: u128, when: &str, encoder: Option<&str>, height: u32) -> Row {
    let (stream_id, channel_id, node_id): (StreamId, ChannelId, NodeId) = (id(stream), id(channel), id(700));
    let event = StreamEvent::Started {
        stream_id,
        channel_id,
        node_id,
        title: "A title".to_owned(),
        video: Some(VideoTrack {
            codec: "avc1.64001f".to_owned(),
            width: height * 16 / 9,
            height,
            frame_rate: if height == 720 { 29.97 } else { 60.0 },
        }),
        audio: Some(AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }),
        encoder: encoder.and_then(EncoderName::from_sent),
        started_at: at(when),
    };
    row::<Stream>(stream_id.to_string(), &event, format!("ingest:{node_id}"), at(when))
}

fn ended(stream: u128, channel: u128, (begin, end): (&str, &str), reason: EndReason) -> Row {
    let stream_id: StreamId = id(stream);
    let event = StreamEvent::Ended {
        stream_id,
        channel_id: id(channel),
        reason,
        ended_at: at(end),
        duration_ms: (at(end) - at(begin)).whole_milliseconds().try_into().unwrap(),
    };
    row::<Stream>(stream_id.to_string(), &event, format!("ingest:{}", id::<NodeId>(700)), at(end))
}

/// Nine days of a small platform; `analysts/expected.json` was reckoned from it by hand.
fn log() -> Vec<Row> {
    let (ann, ben, cleo, dora) = (1, 2, 3, 4);
    let (river, harbour, meadow) = (11, 12, 13);
    let mut log = vec![
        registered(ann, "02T09:00"),
        created(river, ann, "river", "02T10:00"),
        registered(ben, "02T12:00"),
        {
            // As it was written before encoders were asked.
            let mut old = started(21, river, "02T20:00", None, 720);
            old.payload["Started"].as_object_mut().unwrap().remove("encoder");
            Row { version: "1", ..old }
        },
        ended(21, river, ("02T20:00", "02T22:00"), EndReason::Unpublished),
        created(harbour, ben, "harbour", "03T08:00"),
        started(22, harbour, "03T20:00", Some(OBS), 720),
        ended(22, harbour, ("03T20:00", "03T20:30"), EndReason::ConnectionLost),
        started(23, harbour, "03T20:34", Some(OBS), 720),
        ended(23, harbour, ("03T20:34", "03T22:34"), EndReason::Unpublished),
        registered(cleo, "04T18:00"),
        started(24, river, "04T19:00", Some(FFMPEG), 1_080),
        registered(dora, "04T20:00"),
        created(meadow, dora, "meadow", "04T20:30"),
        ended(24, river, ("04T19:00", "04T21:00"), EndReason::KeyRotated),
        started(25, river, "05T20:00", Some(OLD_OBS), 1_080),
        started(26, meadow, "05T20:30", Some(OBS), 720),
        ended(25, river, ("05T20:00", "05T21:00"), EndReason::Unpublished),
        ended(26, meadow, ("05T20:30", "05T21:15"), EndReason::ConnectionLost),
        started(27, harbour, "09T20:00", Some(OBS), 720),
        ended(27, harbour, ("09T20:00", "09T21:30"), EndReason::Shutdown),
        // On still.
        started(28, river, "10T19:30", Some(FFMPEG), 1_080),
    ];
    log.sort_by_key(|row| row.at);
    log
}

async fn fill(url: &str, log: &[Row]) {
    let pool = PgPool::connect(url).await.unwrap();
    let mut sequences = std::collections::HashMap::<&str, i64>::new();
    let mut transaction = pool.begin().await.unwrap();
    for (row, position) in log.iter().zip(1_i64..) {
        let sequence = sequences.entry(&row.aggregate_id).or_default();
        *sequence += 1;
        let command_id = id::<StreamId>(1_000 + u128::try_from(position).unwrap());
        let metadata =
            serde_json::json!({ "actor": row.actor, "command_id": command_id, "correlation_id": command_id });
        sqlx::query(
            "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                 metadata, recorded_at) values ($1, $2, $3, $4, $5, $6, $7::json, $8::json, $9)",
        )
        .bind(position)
        .bind(row.aggregate_type)
        .bind(&row.aggregate_id)
        .bind(*sequence)
        .bind(row.event_type)
        .bind(row.version)
        .bind(row.payload.to_string())
        .bind(metadata.to_string())
        .bind(row.at)
        .execute(&mut *transaction)
        .await
        .unwrap();
    }
    sqlx::query("update log.head set position = $1")
        .bind(i64::try_from(log.len()).unwrap())
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

fn weir(data_dir: &Path, url: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .env("WEIR_DATA_DIR", data_dir)
        .env("WEIR_DATABASE_URL", url)
        .output()
        .unwrap()
}

fn check(output: &Output) -> String {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    said.into_owned()
}

#[tokio::test]
async fn every_query_of_the_document_answers_as_expected() {
    let url = ::embedded::testing::database().await.url;
    let folder = tempfile::tempdir().unwrap();
    check(&weir(folder.path(), &url, &["migrate"]));
    fill(&url, &log()).await;
    let file = folder.path().join("events.parquet");
    let file = file.to_str().unwrap();
    check(&weir(folder.path(), &url, &["events", "export", "-o", file]));

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let queries = Command::new(root.join("scripts/check-analysts"))
        .arg(folder.path())
        .arg(root.join("tests/e2e/analysts/expected.json"))
        .output()
        .unwrap();
    assert!(check(&queries).contains("11 queries answer as expected"), "{queries:?}");

    // Not over what is there, and of what the export itself left in the log.
    let again = weir(folder.path(), &url, &["events", "export", "-o", file]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"), "{again:?}");
    check(&weir(folder.path(), &url, &["events", "export", "--force", "-o", file]));
    let mut arguments = vec!["events", "export", "--format", "ndjson", "-o", "-"];
    let all = check(&weir(folder.path(), &url, &arguments));
    // 22 of the fixture, and the two exports before this one with two events each.
    assert_eq!(all.lines().count(), 26, "{all}");
    arguments.extend(["--types", "export.*", "--after", "22"]);
    let exports = check(&weir(folder.path(), &url, &arguments));
    let types: Vec<String> = exports
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(types, ["export.requested", "export.completed"].repeat(3));
    let owner = format!("account:{}", id::<AccountId>(1));
    assert!(!all.contains(&owner), "accounts stand under pseudonyms");
    let plain = check(&weir(folder.path(), &url, &["events", "export", "--format=csv", "--actors=plain", "-o", "-"]));
    assert!(plain.contains(&owner));
    let wrong = weir(folder.path(), &url, &["events", "export", "--types", "stream.begun", "-o", "x.csv"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there is no event type stream.begun"), "{wrong:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}
