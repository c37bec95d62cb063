//! A database with both schemas, to which events can be appended.

use std::{
    borrow::Cow,
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{
    Aggregate, DomainEvent, Event,
    accounts::{
        Account, AccountEmail, PasswordReset, PersonalExports, PersonalToken, PersonalTokenEvent, Profile, Session,
        SessionEvent, SignIns,
    },
    channels::{Channel, ChannelEvent},
    exports::{Export, ExportEvent},
    ids::AccountId,
    invites::Invite,
    recordings::Recording,
    registrations::{Install, RegistrationInvite},
    reports::Report,
    sealed::{BoxFuture, Keyring, KeyringError, Opened, Sealed},
    streams::{Stream, StreamEvent},
};
use projections::{Projection, Projections, ReadModels};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) keys: Arc<Keys>,
    sequences: Mutex<HashMap<(&'static str, String), i64>>,
}

/// Projections at work, ended with the test.
pub(crate) struct Workers {
    pub(crate) projections: Projections,
    pub(crate) read: ReadModels,
    cancel: CancellationToken,
}

impl Workers {
    /// Ends them and waits until they are.
    pub(crate) async fn end(&self) {
        self.cancel.cancel();
        self.projections.ended().await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let url = embedded::testing::database().await.url;
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute("create schema log; set search_path = log").await.unwrap();
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../commands/migrations");
        let log = sqlx::migrate::Migrator::new(migrations).await.unwrap();
        log.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        projections::migrate(&url).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        Self { url, pool, keys: Arc::default(), sequences: Mutex::default() }
    }

    /// Workers for all projections.
    pub(crate) fn start(&self, nats: Option<async_nats::Client>) -> Workers {
        self.start_some(projections::ALL, nats)
    }

    pub(crate) fn start_some(
        &self,
        projections: &'static [&'static dyn Projection],
        nats: Option<async_nats::Client>,
    ) -> Workers {
        self.start_with(self.pool.clone(), projections, nats)
    }

    pub(crate) fn start_with(
        &self,
        pool: PgPool,
        projections: &'static [&'static dyn Projection],
        nats: Option<async_nats::Client>,
    ) -> Workers {
        let cancel = CancellationToken::new();
        let projections = Projections::start_some(projections, pool, nats, self.keys.clone(), cancel.clone());
        Workers { read: projections.read_models(), projections, cancel }
    }

    /// Appends events as the write side does; the position of the last.
    pub(crate) async fn append(&self, events: &[DomainEvent]) -> i64 {
        let rows = events.iter().map(|event| {
            let (aggregate_type, id, payload) = stored(event);
            Row {
                aggregate_type,
                id,
                event_type: event.event_type().to_owned(),
                version: event.event_version(),
                payload,
            }
        });
        self.append_rows(rows.collect()).await
    }

    /// Appends an event of this type with whatever payload.
    pub(crate) async fn append_raw(&self, aggregate_type: &'static str, event_type: &str, payload: &str) -> i64 {
        let row = Row {
            aggregate_type,
            id: uuid::Uuid::now_v7().to_string(),
            event_type: event_type.to_owned(),
            version: "1",
            payload: payload.to_owned(),
        };
        self.append_rows(vec![row]).await
    }

    async fn append_rows(&self, rows: Vec<Row>) -> i64 {
        let mut sequences = Vec::new();
        {
            let mut known = self.sequences.lock().unwrap();
            for row in &rows {
                let sequence = known.entry((row.aggregate_type, row.id.clone())).or_default();
                *sequence += 1;
                sequences.push(*sequence);
            }
        }
        let mut transaction = self.pool.begin().await.unwrap();
        let head: i64 = sqlx::query_scalar("update log.head set position = position + $1 returning position")
            .bind(i64::try_from(rows.len()).unwrap())
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        sqlx::query(
            "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version,
                 payload, metadata)
             select $1 - $2 + ordinality, aggregate_type, id, sequence, event_type, version, payload::json, '{}'
             from unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[])
                 with ordinality as t (aggregate_type, id, sequence, event_type, version, payload, ordinality)",
        )
        .bind(head)
        .bind(i64::try_from(rows.len()).unwrap())
        .bind(rows.iter().map(|row| row.aggregate_type).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| &*row.id).collect::<Vec<_>>())
        .bind(sequences)
        .bind(rows.iter().map(|row| &*row.event_type).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.version).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| &*row.payload).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query("select pg_notify('weir_log', $1)")
            .bind(head.to_string())
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        head
    }

    /// A number from the database.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// All rows of a table, in an order of their own.
    pub(crate) async fn rows(&self, table: &str) -> Vec<String> {
        sqlx::query_scalar(&format!("select t::text from {table} t order by 1")).fetch_all(&self.pool).await.unwrap()
    }
}

struct Row {
    aggregate_type: &'static str,
    id: String,
    event_type: String,
    version: &'static str,
    payload: String,
}

fn stored(event: &DomainEvent) -> (&'static str, String, String) {
    fn json<E: Event>(event: &E) -> String {
        serde_json::to_string(event).unwrap()
    }
    match event {
        DomainEvent::Account(event) => (Account::TYPE, event.account_id().to_string(), json(event)),
        DomainEvent::Session(event) => {
            let (SessionEvent::Opened { session_id, .. } | SessionEvent::Ended { session_id, .. }) = event;
            (Session::TYPE, session_id.to_string(), json(event))
        }
        DomainEvent::PersonalToken(event) => {
            let (PersonalTokenEvent::Created { token_id, .. } | PersonalTokenEvent::Revoked { token_id, .. }) = event;
            (PersonalToken::TYPE, token_id.to_string(), json(event))
        }
        DomainEvent::Profile(event) => (Profile::TYPE, event.account_id().to_string(), json(event)),
        DomainEvent::Email(event) => (AccountEmail::TYPE, event.account_id().to_string(), json(event)),
        DomainEvent::PasswordReset(event) => (PasswordReset::TYPE, event.account_id().to_string(), json(event)),
        DomainEvent::SignIn(event) => (SignIns::TYPE, event.account_id().to_string(), json(event)),
        DomainEvent::PersonalExport(event) => (PersonalExports::TYPE, event.account_id().to_string(), json(event)),
        DomainEvent::Channel(event) => {
            let (ChannelEvent::Created { channel_id, .. }
            | ChannelEvent::DetailsChanged { channel_id, .. }
            | ChannelEvent::VisibilityChanged { channel_id, .. }
            | ChannelEvent::StreamKeyRotated { channel_id, .. }
            | ChannelEvent::RecordingChanged { channel_id, .. }
            | ChannelEvent::RoleGiven { channel_id, .. }
            | ChannelEvent::RoleTaken { channel_id, .. }
            | ChannelEvent::Closed { channel_id, .. }) = event;
            (Channel::TYPE, channel_id.to_string(), json(event))
        }
        DomainEvent::Stream(event) => {
            let (StreamEvent::Started { stream_id, .. }
            | StreamEvent::RenditionsChanged { stream_id, .. }
            | StreamEvent::TracksChanged { stream_id, .. }
            | StreamEvent::Ended { stream_id, .. }) = event;
            (Stream::TYPE, stream_id.to_string(), json(event))
        }
        DomainEvent::Export(event) => {
            let (ExportEvent::Requested { export_id, .. }
            | ExportEvent::Completed { export_id, .. }
            | ExportEvent::Failed { export_id, .. }
            | ExportEvent::Deleted { export_id, .. }) = event;
            (Export::TYPE, export_id.to_string(), json(event))
        }
        DomainEvent::Recording(event) => (Recording::TYPE, event.recording_id().to_string(), json(event)),
        DomainEvent::Invite(event) => (Invite::TYPE, event.invite_id().to_string(), json(event)),
        DomainEvent::Install(event) => (Install::TYPE, uuid::Uuid::nil().to_string(), json(event)),
        DomainEvent::RegistrationInvite(event) => {
            (RegistrationInvite::TYPE, event.invite_id().to_string(), json(event))
        }
        DomainEvent::Report(event) => (Report::TYPE, event.report_id().to_string(), json(event)),
    }
}

/// Keys under which nothing is encrypted.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) are_away: AtomicBool,
}

/// What an erased person's data is.
const ERASED: &[u8] = b"\0erased";

pub(crate) fn seal(account_id: AccountId, text: &str) -> Sealed {
    Sealed { account_id, ciphertext: text.as_bytes().to_vec() }
}

pub(crate) fn seal_erased(account_id: AccountId) -> Sealed {
    Sealed { account_id, ciphertext: ERASED.to_vec() }
}

impl Keyring for Keys {
    fn open<'a>(&'a self, sealed: Vec<Cow<'a, Sealed>>) -> BoxFuture<'a, Result<Vec<Opened>, KeyringError>> {
        Box::pin(async move {
            if self.are_away.load(Ordering::SeqCst) {
                return Err(KeyringError::Unavailable("for the test".into()));
            }
            let open = |sealed: Cow<'_, Sealed>| match &*sealed.ciphertext {
                ERASED => Opened::Erased,
                text => Opened::Text(String::from_utf8(text.to_vec()).unwrap()),
            };
            Ok(sealed.into_iter().map(open).collect())
        })
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, met).await.is_ok(), "{what} did not come");
}
