//! Clocks that jump: the log's times never run backwards, and nothing else minds.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    api::{Caller, check_events},
    weir::{DataDir, Weir, command, eventually},
};

fn times(events: &[Value]) -> Vec<OffsetDateTime> {
    let time = |event: &Value| OffsetDateTime::parse(event["time"].as_str().unwrap(), &Rfc3339).unwrap();
    events.iter().map(time).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_from_the_future_goes_on() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    // As after an append by a clock that was an hour ahead.
    let mut log = PgConnection::connect(&folder.database_url()).await.unwrap();
    sqlx::query("update log.head set recorded_at = now() + interval '1 hour'").execute(&mut log).await.unwrap();
    keeper.channel("river").await;
    keeper.channel("brook").await;
    let events = keeper.events().await;
    check_events(&events);
    let times = times(&events);
    assert!(times.is_sorted(), "{times:?}");
    assert!(*times.last().unwrap() > OffsetDateTime::now_utc() + Duration::minutes(59), "{times:?}");
}

/// A clock of a process's own, which can be set.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new(folder: &Path) -> Self {
        let library = fs::read_dir("/usr/lib")
            .unwrap()
            .flatten()
            .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
            .find(|library| library.exists());
        let library = library.expect("there is no libfaketime here; run scripts/setup test");
        let clock = Self { library, file: folder.join("clock") };
        clock.set("+0");
        clock
    }

    /// Seconds, minutes or hours away from the machine's: `-1h`.
    fn set(&self, offset: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{offset}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // A monotonic clock does not jump.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    /// A folder for `PATH` with a Postgres in it that has this clock.
    fn postgres(&self, folder: &Path) -> PathBuf {
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let bin = installed.map(|entry| entry.path().join("bin")).max().expect("Debian's Postgres is installed");
        let place = folder.join("bin");
        fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink(bin.join("initdb"), place.join("initdb")).unwrap();
        let set: Vec<String> = self.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let script = format!("#!/bin/sh\nexec env {} {} \"$@\"\n", set.join(" "), bin.join("postgres").display());
        // Written by another process, which ends: a file that is open for writing anywhere cannot be run.
        let program = place.join("postgres");
        let text = place.join("text");
        fs::write(&text, script).unwrap();
        assert!(std::process::Command::new("cp").arg(&text).arg(&program).status().unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        place
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_set_back_and_forth_change_no_order() {
    let folder = DataDir::new();
    let clock = Clock::new(folder.path());
    let path = clock.postgres(folder.path());
    let rest = std::env::var("PATH").unwrap_or_default();
    let mut environment = clock.environment().to_vec();
    environment.push(("PATH", format!("{}:{rest}", path.display())));
    let weir = Weir::up_from(command(&folder).envs(environment), &folder, &Weir::ANYWHERE);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    keeper.channel("now").await;

    clock.set("-1h");
    // Postgres has the same clock, or this test shows nothing.
    let mut log = PgConnection::connect(&folder.database_url()).await.unwrap();
    let there: OffsetDateTime = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut log).await.unwrap();
    assert!(there < OffsetDateTime::now_utc() - Duration::minutes(59), "{there}");
    keeper.channel("an_hour_ago").await;
    let guest = Caller::register(&weir.http, "guest", None).await;
    guest.channel("guests_channel").await;
    relayed(&weir, keeper.events().await.len()).await;

    clock.set("+2h");
    // The access token of two hours ago is over, the account is not.
    let (status, _) = guest.call(Method::POST, "channels", Some(json!({ "handle": "late", "title": "t" }))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let keeper = Caller::sign_in(&weir.http, "keeper").await;
    keeper.channel("in_two_hours").await;

    clock.set("+0");
    // Issued in what is the future now.
    let again = Caller::sign_in(&weir.http, "keeper").await;
    again.channel("now_again").await;
    let events = again.events().await;
    check_events(&events);
    assert!(times(&events).is_sorted(), "{:?}", times(&events));
    relayed(&weir, events.len()).await;
}

async fn relayed(weir: &Weir, head: usize) {
    eventually("all of it is relayed", async || {
        (weir.metric("weir_relay_position", "").await? >= head as f64).then_some(())
    })
    .await;
}
