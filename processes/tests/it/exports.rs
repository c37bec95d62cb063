use std::{collections::HashMap, sync::Arc};

use commands::{
    Actor, Metadata,
    events::{self, Actors, Envelope, Filter},
    exports::{self, RequestExport, jobs},
};
use domain::{
    exports::{ExportDeletedReason, ExportFilter, ExportFormat, ExportState, ExportWay},
    ids::{AccountId, ExportId},
};
use parquet::{
    file::{
        reader::{FileReader, SerializedFileReader},
        statistics::Statistics,
    },
    record::Field,
};
use processes::{
    ExportsOptions, Following,
    exports::{Wanted, WriteError, key, write},
};
use projections::{Projections, exports::ExportRow};
use storage::Storage;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stage::{self, Stage};

const SOURCE: &str = "https://weir.test";

/// A database, a storage, and read models to look at.
struct Site {
    stage: Stage,
    storage: Storage,
    projections: Arc<Projections>,
    _folder: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

impl Site {
    async fn new() -> Self {
        let stage = Stage::new().await;
        projections::migrate(&stage.url).await.unwrap();
        let folder = tempfile::tempdir_in(embedded::testing::temporary_folder()).unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let stop = CancellationToken::new();
        let keyring = stage.commands.keyring();
        let projections = Projections::start(stage.pool.clone(), None, keyring, stop.clone());
        Self { stage, storage, projections: Arc::new(projections), _folder: folder, _stop: stop.drop_guard() }
    }

    /// A node that writes exports; it ends, as by a crash, when it is aborted.
    fn node(&self, at_once: usize) -> JoinHandle<()> {
        let commands = self.stage.commands.clone();
        let options = ExportsOptions { storage: self.storage.clone(), public_url: SOURCE.to_owned(), at_once };
        tokio::spawn(async move {
            let following = Following::new(&commands);
            tokio::join!(following.listen(), processes::exports::run(&commands, &following, &options));
        })
    }

    async fn request(&self, format: ExportFormat, filter: Filter) -> ExportId {
        let head = events::head(&self.stage.pool).await.unwrap();
        self.request_recorded(format, exports::recorded(&filter, head)).await
    }

    async fn request_recorded(&self, format: ExportFormat, filter: ExportFilter) -> ExportId {
        let request = RequestExport {
            by: Some(AccountId::from(uuid::Uuid::now_v7())),
            way: ExportWay::Job,
            format,
            filter,
            names_accounts: false,
            metadata: Metadata::new(Actor::System),
        };
        exports::request(&self.stage.commands, request).await.unwrap().export_id
    }

    async fn row(&self, id: ExportId) -> Option<ExportRow> {
        self.projections.read_models().exports().by_id(id).await.unwrap()
    }

    async fn until(&self, id: ExportId, state: ExportState) -> ExportRow {
        stage::until("the export", async || self.row(id).await.is_some_and(|row| row.state == state)).await;
        self.row(id).await.unwrap()
    }

    async fn file(&self, id: ExportId) -> Option<Vec<u8>> {
        self.storage.get(&key(id)).await.unwrap().map(|object| object.bytes.to_vec())
    }

    /// What the feed would say.
    async fn envelopes(&self, filter: &Filter) -> Vec<String> {
        let actors = Actors::Pseudonymous(self.stage.commands.pseudonyms());
        let mut envelope = Envelope::new(SOURCE, actors);
        let found = events::page(&self.stage.pool, filter, 10_000).await.unwrap();
        let lines = found.iter().map(|event| {
            let mut line = Vec::new();
            envelope.write(event, &mut line);
            String::from_utf8(line).unwrap()
        });
        lines.collect()
    }
}

#[tokio::test]
async fn ndjson_is_what_the_feed_says() {
    let site = Site::new().await;
    let _node = site.node(1);
    site.stage.channels(20).await;
    let filter = Filter { after: 3, until: Some(18), ..Filter::default() };
    let expected = site.envelopes(&filter).await;
    let id = site.request(ExportFormat::Ndjson, filter).await;
    let row = site.until(id, ExportState::Completed).await;
    let text = String::from_utf8(site.file(id).await.unwrap()).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert_eq!((row.event_count, row.size_bytes), (Some(15), Some(i64::try_from(text.len()).unwrap())));
    let kept = row.expires_at.unwrap() - row.completed_at.unwrap();
    assert!((Duration::days(7) - kept).abs() < Duration::MINUTE, "{kept}");
    site.stage.until_count("an empty list", "select count(*) from log.export_jobs", 0).await;
    // What follows from a request belongs to it.
    let metadata: Vec<String> = sqlx::query_scalar(
        "select metadata->>'correlation_id' from log.events where aggregate_type = 'export' order by position",
    )
    .fetch_all(&site.stage.pool)
    .await
    .unwrap();
    assert_eq!((metadata.len(), &metadata[0]), (2, &metadata[1]));
}

#[tokio::test]
async fn parquet_has_typed_columns_and_says_what_its_groups_hold() {
    let site = Site::new().await;
    let _node = site.node(1);
    let positions = site.stage.channels(30).await;
    let expected = site.envelopes(&Filter::default()).await;
    let id = site.request(ExportFormat::Parquet, Filter::default()).await;
    site.until(id, ExportState::Completed).await;
    let file = bytes::Bytes::from(site.file(id).await.unwrap());
    let reader = SerializedFileReader::new(file).unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().num_rows(), 30);
    let schema = metadata.file_metadata().schema_descr();
    let columns: Vec<_> = schema.columns().iter().map(|column| column.name().to_owned()).collect();
    assert_eq!(columns.join(","), HEADER);
    let position = metadata.row_group(0).column(0).statistics().unwrap();
    let Statistics::Int64(position) = position else { panic!("{position:?}") };
    assert_eq!((position.min_opt(), position.max_opt()), (Some(&positions[0]), positions.last()));
    assert!(metadata.row_group(0).column(2).statistics().is_some(), "time");

    for (row, expected) in reader.get_row_iter(None).unwrap().zip(&expected) {
        let row = row.unwrap();
        let row: HashMap<&str, &Field> = row.get_column_iter().map(|(name, field)| (name.as_str(), field)).collect();
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        let text = |name: &str| match row[name] {
            Field::Str(text) => text.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(row["position"], &Field::Long(expected["position"].as_i64().unwrap()));
        assert_eq!(row["sequence"], &Field::Long(expected["sequence"].as_i64().unwrap()));
        for (column, member) in [
            ("id", "id"),
            ("type", "type"),
            ("version", "version"),
            ("subject", "subject"),
            ("actor", "actor"),
            ("correlation_id", "correlationid"),
        ] {
            assert_eq!(text(column), expected[member], "{column}");
        }
        assert_eq!(format!("{}/{}", text("aggregate_type"), text("aggregate_id")), expected["subject"]);
        assert_eq!(row["causation_id"], &Field::Null);
        let Field::TimestampMicros(micros) = row["time"] else { panic!("{:?}", row["time"]) };
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(*micros) * 1_000).unwrap();
        assert_eq!(time, OffsetDateTime::parse(expected["time"].as_str().unwrap(), &Rfc3339).unwrap());
        let data: serde_json::Value = serde_json::from_str(&text("data")).unwrap();
        assert_eq!(data, expected["data"]);
    }
}

const HEADER: &str = "position,id,time,type,version,subject,aggregate_type,aggregate_id,sequence,actor,correlation_id,\
                      causation_id,data";

#[tokio::test]
async fn csv_has_a_header_and_quotes_what_needs_it() {
    let site = Site::new().await;
    let _node = site.node(1);
    site.stage.channels(1).await;
    let filter = Filter { types: vec!["channel.*".to_owned()], ..Filter::default() };
    let expected: serde_json::Value = serde_json::from_str(&site.envelopes(&filter).await[0]).unwrap();
    let id = site.request(ExportFormat::Csv, filter).await;
    site.until(id, ExportState::Completed).await;
    let text = String::from_utf8(site.file(id).await.unwrap()).unwrap();
    let (header, rest) = text.split_once("\r\n").unwrap();
    assert_eq!(header, HEADER);
    let row = rest.strip_suffix("\r\n").unwrap();
    assert!(!row.contains("\r\n"), "one event: {row}");
    let (plain, data) = row.split_once(",\"{").unwrap();
    let data = format!("{{{}", data.strip_suffix('"').unwrap().replace("\"\"", "\""));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&data).unwrap(), expected["data"]);
    let plain: Vec<&str> = plain.split(',').collect();
    assert_eq!((plain.len(), plain[0], plain[3]), (12, "1", "channel.created"));
    assert_eq!(
        (plain[1], plain[5], plain[11]),
        (expected["id"].as_str().unwrap(), expected["subject"].as_str().unwrap(), "")
    );
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).unwrap();
    assert_eq!(time(plain[2]), time(expected["time"].as_str().unwrap()));
}

#[tokio::test]
async fn an_export_of_nothing_is_an_empty_file_of_its_form() {
    let site = Site::new().await;
    let _node = site.node(3);
    let nothing = || Filter { types: vec!["stream.started".to_owned()], ..Filter::default() };
    let csv = site.request(ExportFormat::Csv, nothing()).await;
    let parquet = site.request(ExportFormat::Parquet, nothing()).await;
    let ndjson = site.request(ExportFormat::Ndjson, nothing()).await;
    for id in [csv, parquet, ndjson] {
        assert_eq!(site.until(id, ExportState::Completed).await.event_count, Some(0));
    }
    assert_eq!(site.file(csv).await.unwrap(), format!("{HEADER}\r\n").into_bytes());
    assert_eq!(site.file(ndjson).await.unwrap(), b"");
    let file = bytes::Bytes::from(site.file(parquet).await.unwrap());
    assert_eq!(SerializedFileReader::new(file).unwrap().metadata().file_metadata().num_rows(), 0);
}

#[tokio::test]
async fn what_a_dead_node_left_is_begun_anew_by_another() {
    let site = Site::new().await;
    site.stage.channels(5).await;
    let id = site.request(ExportFormat::Ndjson, Filter::default()).await;
    // A node took it on and fell silent.
    jobs::enqueue(&site.stage.pool, id).await.unwrap();
    let job = jobs::claim(&site.stage.pool, uuid::Uuid::now_v7()).await.unwrap().unwrap();
    assert_eq!((job.export_id, job.attempts), (id, 1));
    // However long this takes, it was heard of just now.
    sqlx::query("update log.export_jobs set beat_at = beat_at + interval '1 hour'")
        .execute(&site.stage.pool)
        .await
        .unwrap();
    assert_eq!(jobs::claim(&site.stage.pool, uuid::Uuid::now_v7()).await.unwrap(), None, "it may yet live");
    let _node = site.node(1);
    site.stage.until_checkpoint("exports", 6).await;
    assert_eq!(site.until(id, ExportState::Requested).await.event_count, None);
    sqlx::query("update log.export_jobs set beat_at = now() - interval '16 seconds'")
        .execute(&site.stage.pool)
        .await
        .unwrap();
    assert_eq!(site.until(id, ExportState::Completed).await.event_count, Some(5));
}

#[tokio::test]
async fn an_export_that_nobody_survives_fails() {
    let site = Site::new().await;
    let id = site.request(ExportFormat::Ndjson, Filter::default()).await;
    jobs::enqueue(&site.stage.pool, id).await.unwrap();
    sqlx::query("update log.export_jobs set attempts = 5").execute(&site.stage.pool).await.unwrap();
    let _node = site.node(1);
    let row = site.until(id, ExportState::Failed).await;
    assert!(row.failure.unwrap().contains("interrupted five times"));
    assert_eq!(site.file(id).await, None);
    site.stage.until_count("an empty list", "select count(*) from log.export_jobs", 0).await;
}

#[tokio::test]
async fn what_cannot_be_stored_or_never_be_fails_and_says_why() {
    let site = Site::new().await;
    let _node = site.node(1);
    // No folder can be made where a file is.
    site.storage.put(&storage::Key::new("exports").unwrap(), bytes::Bytes::new()).await.unwrap();
    let id = site.request(ExportFormat::Parquet, Filter::default()).await;
    let row = site.until(id, ExportState::Failed).await;
    assert!(row.failure.unwrap().contains("could not store"));
    let filter = ExportFilter { subject: Some("nobody".to_owned()), ..ExportFilter::default() };
    let id = site.request_recorded(ExportFormat::Parquet, filter).await;
    let row = site.until(id, ExportState::Failed).await;
    assert!(row.failure.unwrap().contains("could ever match"));
}

#[tokio::test]
async fn a_deleted_export_is_not_written_and_its_file_goes() {
    let site = Site::new().await;
    let delete = async |id| {
        let reason = ExportDeletedReason::Requested;
        exports::delete(&site.stage.commands, id, reason, Metadata::new(Actor::System)).await.unwrap();
    };
    let waiting = site.request(ExportFormat::Csv, Filter::default()).await;
    delete(waiting).await;
    let node = site.node(1);
    let written = site.request(ExportFormat::Csv, Filter::default()).await;
    site.until(written, ExportState::Completed).await;
    assert!(site.file(written).await.is_some());
    delete(written).await;
    stage::until("the file's end", async || site.file(written).await.is_none()).await;
    assert_eq!(site.row(waiting).await.unwrap().state, ExportState::Deleted);
    assert_eq!(site.file(waiting).await, None);

    // Deleted just when its file was there: whoever wrote it takes it away.
    node.abort();
    let _ = node.await;
    let late = site.request(ExportFormat::Csv, Filter::default()).await;
    jobs::enqueue(&site.stage.pool, late).await.unwrap();
    delete(late).await;
    let _node = site.node(1);
    site.stage.until_count("an empty list", "select count(*) from log.export_jobs", 0).await;
    assert_eq!(site.file(late).await, None);
}

#[tokio::test]
async fn an_export_is_deleted_when_its_time_is_over() {
    let site = Site::new().await;
    let _node = site.node(1);
    let id = site.request(ExportFormat::Csv, Filter::default()).await;
    site.until(id, ExportState::Completed).await;
    let now = OffsetDateTime::now_utc();
    let expire = async |now| processes::exports::delete_expired(&site.stage.commands, now).await.unwrap();
    assert_eq!(expire(now + Duration::days(6)).await, 0);
    assert_eq!(expire(now + Duration::days(8)).await, 1);
    site.until(id, ExportState::Deleted).await;
    stage::until("the file's end", async || site.file(id).await.is_none()).await;
    assert_eq!(expire(now + Duration::days(8)).await, 0);
    let reason: String =
        sqlx::query_scalar("select payload->'Deleted'->>'reason' from log.events where event_type = 'export.deleted'")
            .fetch_one(&site.stage.pool)
            .await
            .unwrap();
    assert_eq!(reason, "expired");
}

#[tokio::test]
async fn nodes_share_the_work_and_each_export_is_written_once() {
    let site = Site::new().await;
    site.stage.channels(3).await;
    let _nodes = [site.node(1), site.node(2)];
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(site.request(ExportFormat::Parquet, Filter { until: Some(3), ..Filter::default() }).await);
    }
    for id in ids {
        assert_eq!(site.until(id, ExportState::Completed).await.event_count, Some(3));
    }
    site.stage
        .until_count("one end each", "select count(*) from log.events where event_type = 'export.completed'", 8)
        .await;
    site.stage.until_count("an empty list", "select count(*) from log.export_jobs", 0).await;
}

/// A file on a disk that is full.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_is_told_apart_in_every_form() {
    let site = Site::new().await;
    site.stage.channels(2).await;
    for format in [ExportFormat::Parquet, ExportFormat::Ndjson, ExportFormat::Csv] {
        let envelope = Envelope::new(SOURCE, Actors::Plain);
        let wanted = Wanted { filter: Filter::default(), format, envelope, source: SOURCE.to_owned() };
        let progress = tokio::sync::watch::Sender::new(jobs::JobProgress::default());
        let failed = write(site.stage.pool.clone(), wanted, Full, &progress).await;
        let Err(WriteError::Io(error)) = failed.map(|(_, count)| count) else { panic!("{format:?}") };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{format:?}");
    }
}
