//! Read models made anew while everything goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use projections::{
    ALL, Projection, State,
    rebuild::{Outcomes, Phase, Rebuild, RebuildError},
};
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::{
    every::{Fresh, log, rows},
    fallible::{Counting, Fault, POISON},
    history::{BEGIN, Dice, created, details_changed, history, new, registered},
    stage::{PATIENCE, Stage, until},
};

/// In batches small enough that there are many.
fn rebuild(stage: &Stage, projections: &[&'static dyn Projection]) -> Rebuild {
    Rebuild::new(stage.pool.clone(), stage.keys.clone(), projections.iter().copied()).batches_of(40)
}

async fn exchange(stage: &Stage, projections: &[&'static dyn Projection]) -> Vec<i64> {
    let outcomes = rebuild(stage, projections).exchange().await;
    outcomes.into_iter().map(|(name, outcome)| outcome.unwrap_or_else(|error| panic!("{name}: {error}"))).collect()
}

/// That live tables are what the log says, row for row and column for column.
async fn live_equals_the_log(stage: &Stage, projections: &[&'static dyn Projection], when: &str) {
    let log = log(stage).await;
    for projection in projections.iter().copied() {
        let mut fresh = Fresh::new(stage, projection, "fresh").await;
        fresh.apply(&log).await;
        assert_eq!(rows(stage, projection, "read").await, fresh.rows().await, "{}: {when}", projection.name());
    }
}

/// Everything about the tables of `read` but the rows.
async fn catalogue(stage: &Stage) -> Vec<String> {
    sqlx::query_scalar(
        "select format('%s %s %s %s', relname, relkind, reloptions, coalesce(obj_description(oid, 'pg_class'), ''))
             || coalesce((select string_agg(entry::text, ',' order by entry::text) from unnest(relacl) entry), '')
         from pg_class where relnamespace = 'read'::regnamespace
         union all
         select format('%s.%s %s %s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
             attidentity, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
         from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
         where attrelid in (select oid from pg_class where relnamespace = 'read'::regnamespace) and attnum > 0
         union all
         select format('%s %s %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
         from pg_constraint where connamespace = 'read'::regnamespace
         union all
         select pg_get_indexdef(indexrelid) from pg_index
         where indrelid in (select oid from pg_class where relnamespace = 'read'::regnamespace)
         order by 1",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap()
}

async fn schemas(stage: &Stage) -> Vec<String> {
    sqlx::query_scalar("select nspname::text from pg_namespace where nspname like 'read%' order by 1")
        .fetch_all(&stage.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn every_read_model_is_rebuilt_as_it_was_and_goes_on() {
    let stage = Stage::new().await;
    let mut dice = Dice(3);
    let workers = stage.start(None);
    let head = stage.append(&history(&mut dice, 500)).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let additions =
        "comment on table read.accounts_v1 is 'Who can''t'; comment on index read.accounts_v1_pkey is 'by id';
         alter table read.accounts_v1 set (fillfactor = 80); grant select on read.accounts_v1 to pg_monitor;
         grant select (id) on read.accounts_v1 to pg_read_all_stats;
         create unique index everybody on read.accounts_v1 (lower(username), id)";
    stage.pool.execute(additions).await.unwrap();
    let before = catalogue(&stage).await;
    for round in 0..3 {
        let positions = exchange(&stage, ALL).await;
        assert_eq!(positions, vec![stage.count("select position from log.head").await; ALL.len()]);
        live_equals_the_log(&stage, ALL, &format!("round {round}")).await;
        assert_eq!(catalogue(&stage).await, before);
        assert_eq!(schemas(&stage).await.iter().filter(|schema| schema.starts_with("read_")).count(), 0);
        let head = stage.append(&history(&mut dice, 30)).await;
        assert!(workers.read.wait_for(head, PATIENCE).await, "workers go on with the new tables");
        live_equals_the_log(&stage, ALL, &format!("after round {round}")).await;
    }
    until("all at work", async || workers.projections.status().iter().all(|status| status.state == State::Following))
        .await;
}

/// How a rebuild of everything ends that is interrupted on its way. Meanwhile somebody reads all that it would exchange, so that it
/// cannot be faster, however late it is told to stop.
async fn interrupted(stage: &Stage) -> Outcomes<i64> {
    let mut reader = PgConnection::connect(&stage.url).await.unwrap();
    let mut transaction = reader.begin().await.unwrap();
    for table in ALL.iter().flat_map(|projection| projection.tables()) {
        transaction.execute(&*format!("lock table read.{table} in access share mode")).await.unwrap();
    }
    let cancel = CancellationToken::new();
    let rebuild = rebuild(stage, ALL).cancelled_by(cancel.clone());
    let mut progress = rebuild.progress();
    let running = tokio::spawn(rebuild.exchange());
    progress.wait_for(|progress| progress.position() >= 80).await.unwrap();
    cancel.cancel();
    let outcomes = running.await.unwrap();
    transaction.rollback().await.unwrap();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_goes_on_where_it_was() {
    let stage = Stage::new().await;
    let mut dice = Dice(4);
    let workers = stage.start(None);
    let head = stage.append(&history(&mut dice, 600)).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let mut reached = Vec::new();
    for (name, outcome) in interrupted(&stage).await {
        match outcome {
            Err(RebuildError::Interrupted { projection, position }) => {
                assert_eq!(projection, name);
                reached.push(position);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    live_equals_the_log(&stage, ALL, "after the interruption").await;

    let second = rebuild(&stage, ALL);
    let progress = second.progress();
    for (_, outcome) in second.exchange().await {
        outcome.unwrap();
    }
    for (part, reached) in progress.borrow().parts.iter().zip(reached) {
        assert_eq!(part.began_at, reached, "{part:?}");
        assert_eq!((part.position, part.phase), (head, Phase::Over));
    }
    live_equals_the_log(&stage, ALL, "after going on").await;

    // As of another program, or of tables that have changed: begun anew.
    let tables = || ALL.iter().flat_map(|projection| projection.tables());
    let each = |change: &str| tables().map(|table| change.replace('$', table)).collect::<String>();
    for change in [
        "update read_build.builds set program = 'another'".to_owned(),
        each("alter table read.$ add column colour text;"),
        each("alter table read.$ set (fillfactor = 90);"),
        each("create index of_$ on read.$ (position);"),
    ] {
        interrupted(&stage).await;
        stage.pool.execute(&*change).await.unwrap();
        let second = rebuild(&stage, ALL);
        let progress = second.progress();
        for (name, outcome) in second.exchange().await {
            assert_eq!(outcome.unwrap_or_else(|error| panic!("{name}: {error}")), head, "{change}");
        }
        assert!(progress.borrow().parts.iter().all(|part| part.began_at == 0), "{change}");
        live_equals_the_log(&stage, ALL, &change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_may_end_anywhere() {
    let stage = Stage::new().await;
    let mut dice = Dice(5);
    let workers = stage.start(None);
    stage.append(&history(&mut dice, 300)).await;
    let before = catalogue(&stage).await;
    for round in 0..16 {
        stage.append(&history(&mut dice, 20)).await;
        // Of whoever was killed before, Postgres hears when it comes to that; after a few seconds of it a rebuild is refused.
        until("the end of the sessions of before", async || {
            let sessions = "select count(*) from pg_stat_activity
                 where datname = current_database() and application_name like 'weir rebuild%'";
            stage.count(sessions).await == 0
        })
        .await;
        let running = tokio::spawn(rebuild(&stage, ALL).exchange());
        tokio::time::sleep(Duration::from_millis(u64::try_from(dice.roll(300)).unwrap())).await;
        if round % 2 == 0 {
            // As a process that is killed.
            running.abort();
        } else {
            // As a Postgres that loses its sessions; the rebuild goes on.
            let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and application_name like 'weir rebuild%'";
            stage.count(kill).await;
            for (_, outcome) in running.await.unwrap() {
                outcome.unwrap();
            }
        }
        let head = stage.append(&history(&mut dice, 5)).await;
        assert!(workers.read.wait_for(head, PATIENCE).await, "round {round}");
        live_equals_the_log(&stage, ALL, &format!("round {round}")).await;
    }
    exchange(&stage, ALL).await;
    live_equals_the_log(&stage, ALL, "in the end").await;
    assert_eq!(catalogue(&stage).await, before);
}

/// Reads as the API does, for ever; tells what it has seen go wrong.
async fn read_on(stage: &Stage, is_over: Arc<AtomicBool>, slowest: Arc<AtomicU64>) -> u64 {
    let read = projections::ReadModels::new(stage.pool.clone());
    let (mut most, mut reads) = (0, 0);
    while !is_over.load(Ordering::SeqCst) {
        let asked = Instant::now();
        let mut after = None;
        let mut count = 0;
        loop {
            let page = read.channels().page(Default::default(), after.as_ref(), 100).await.unwrap();
            count += page.items.len();
            // Of another read model.
            assert!(page.items.iter().all(|channel| !channel.owner_username.is_empty()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        read.streams().page(Default::default(), None, 100).await.unwrap();
        assert!(count >= most, "{count} channels, where there were {most}");
        most = count;
        reads += 1;
        slowest.fetch_max(u64::try_from(asked.elapsed().as_millis()).unwrap(), Ordering::SeqCst);
    }
    reads
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_go_on_while_read_models_are_rebuilt_again_and_again() {
    let stage = Arc::new(Stage::new().await);
    let mut dice = Dice(6);
    let (one, two) = (stage.start(None), stage.start(None));
    let head = stage.append(&history(&mut dice, 300)).await;
    assert!(one.read.wait_for(head, PATIENCE).await);
    let (is_over, slowest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (stage, is_over, slowest) = (stage.clone(), is_over.clone(), slowest.clone());
            tokio::spawn(async move { read_on(&stage, is_over, slowest).await })
        })
        .collect();
    let writer = {
        let (stage, is_over) = (stage.clone(), is_over.clone());
        let read = one.read.clone();
        tokio::spawn(async move {
            let (owner, id) = (new(), new());
            let mut head = stage.append(&[registered(owner, "ann", BEGIN), created(id, owner, "harbour", BEGIN)]).await;
            let mut number = 0;
            while !is_over.load(Ordering::SeqCst) {
                number += 1;
                head = stage.append(&[details_changed(id, &format!("Title {number}"), BEGIN)]).await;
                assert!(read.wait_for(head, PATIENCE).await, "who writes reads it");
                let row = read.channels().by_id(id).await.unwrap().unwrap();
                assert_eq!(row.title, format!("Title {number}"));
            }
            head
        })
    };
    for _ in 0..6 {
        exchange(&stage, ALL).await;
        for (_, compared) in rebuild(&stage, ALL).compare().await {
            assert_eq!(compared.unwrap().differing(), 0);
        }
    }
    is_over.store(true, Ordering::SeqCst);
    let head = writer.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert!(one.read.wait_for(head, PATIENCE).await && two.read.wait_for(head, PATIENCE).await);
    live_equals_the_log(&stage, ALL, "after six rebuilds").await;
    assert_eq!(stage.count("select count(*) from read.failed_events").await, 0);
    assert_eq!(stage.count("select min(generation) from read.checkpoints").await, 6);
    println!("the slowest of all reads took {} ms", slowest.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_for_long_holds_up_the_exchange_and_nobody_else() {
    let stage = Stage::new().await;
    let mut dice = Dice(7);
    let workers = stage.start(None);
    let head = stage.append(&history(&mut dice, 100)).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let mut backup = PgConnection::connect(&stage.url).await.unwrap();
    let mut transaction = backup.begin().await.unwrap();
    transaction.execute("select count(*) from read.channels_v1").await.unwrap();

    let channels: &[&'static dyn Projection] = &[&projections::channels::ChannelsV1];
    let running = rebuild(&stage, channels);
    let mut progress = running.progress();
    let running = tokio::spawn(running.exchange());
    progress.wait_for(|progress| progress.parts[0].phase == Phase::Exchanging).await.unwrap();
    for number in 0..20 {
        let head = stage.append(&[registered(new(), &format!("n_{number}"), BEGIN)]).await;
        let accounts: &[&dyn Projection] = &[&projections::accounts::AccountsV1];
        assert!(workers.read.wait_for_some(accounts, head, PATIENCE).await);
        workers.read.channels().page(Default::default(), None, 100).await.unwrap();
    }
    assert!(!running.is_finished(), "the table is in use");
    transaction.commit().await.unwrap();
    running.await.unwrap().remove(0).1.unwrap();
    live_equals_the_log(&stage, ALL, "in the end").await;
}

#[tokio::test]
async fn a_poison_event_stops_a_rebuild_and_a_repaired_one_gets_the_worker_past_it() {
    let stage = Stage::new().await;
    let (projection, counting) = Counting::new(&stage, Fault::Panic, false).await;
    let workers = stage.start_some(counting, None);
    let titled = |title: &str| details_changed(new(), title, BEGIN);
    let head = stage.append(&[titled("one"), titled("two"), titled(POISON), titled("four")]).await;
    let stopped = || matches!(workers.projections.status()[0].state, State::Stopped { position: 3, .. });
    until("the stop", async || stopped()).await;

    let error = rebuild(&stage, counting).exchange().await.remove(0).1.unwrap_err();
    assert!(matches!(error, RebuildError::Stuck { position: 3, .. }) && error.leaves_a_build(), "{error:?}");
    let text = error.to_string();
    for part in ["channel.details_changed", "position 3", "counting_v1", "this event is too much", "rebuild again"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(stopped(), "the live one is as it was");
    assert_eq!(stage.rows("read.counting_v1").await, ["(one)", "(two)"]);
    assert_eq!(stage.rows("read_build.counting_v1").await, ["(one)", "(two)"]);

    projection.cure(&stage).await;
    assert_eq!(exchange(&stage, counting).await, [head]);
    until("the worker", async || workers.projections.status()[0].state == State::Following).await;
    assert_eq!(stage.count("select count(*) from read.failed_events where resolved_at is null").await, 0);
    let head = stage.append(&[titled("five")]).await;
    assert!(workers.read.wait_for_some(counting, head, PATIENCE).await);
    assert_eq!(stage.rows("read.counting_v1").await, ["(five)", "(four)", "(one)", "(poison)", "(two)"]);
}

#[tokio::test]
async fn what_may_be_passed_over_is_passed_over_by_a_rebuild_too_and_told() {
    let stage = Stage::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, true).await;
    let titled = |title: &str| details_changed(new(), title, BEGIN);
    let head = stage.append(&[titled("one"), titled(POISON), titled("three")]).await;
    assert_eq!(exchange(&stage, counting).await, [head]);
    assert_eq!(stage.rows("read.counting_v1").await, ["(one)", "(three)"]);
    let kept = "select count(*) from read.failed_events where is_skipped and position = 2 and resolved_at is null";
    assert_eq!(stage.count(kept).await, 1);
    assert_eq!(exchange(&stage, counting).await, [head]);
    assert_eq!(stage.count(kept).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_a_migration_changed_meanwhile_are_not_exchanged() {
    let stage = Stage::new().await;
    let mut dice = Dice(13);
    let head = stage.append(&history(&mut dice, 200)).await;
    exchange(&stage, ALL).await;
    let mut reader = PgConnection::connect(&stage.url).await.unwrap();
    let mut transaction = reader.begin().await.unwrap();
    transaction.execute("select count(*) from read.channels_v1").await.unwrap();
    let channels: &[&'static dyn Projection] = &[&projections::channels::ChannelsV1];
    let running = rebuild(&stage, channels);
    let mut progress = running.progress();
    let running = tokio::spawn(running.exchange());
    progress.wait_for(|progress| progress.parts[0].phase == Phase::Exchanging).await.unwrap();
    // In the same breath in which the reader goes.
    transaction.execute("alter table read.channels_v1 add column colour text").await.unwrap();
    transaction.commit().await.unwrap();
    let error = running.await.unwrap().remove(0).1.unwrap_err();
    assert!(matches!(error, RebuildError::Changed { .. }), "{error}");
    assert_eq!(exchange(&stage, channels).await, [head]);
    assert_eq!(
        stage.count("select count(*) from read.channels_v1 where colour is null").await,
        stage.count("select count(*) from read.channels_v1").await
    );
    live_equals_the_log(&stage, ALL, "rebuilt with the column").await;
}

#[tokio::test]
async fn a_second_rebuild_of_the_same_is_refused() {
    let stage = Stage::new().await;
    stage.append(&history(&mut Dice(8), 400)).await;
    let mut other = PgConnection::connect(&stage.url).await.unwrap();
    other.execute("select pg_advisory_lock(hashtextextended('weir rebuild read_build.accounts_v1', 0))").await.unwrap();
    let outcomes = rebuild(&stage, ALL).exchange().await;
    for (name, outcome) in outcomes {
        match outcome {
            Err(error @ RebuildError::InProgress { .. }) => {
                assert_eq!(name, "accounts_v1");
                assert!(error.to_string().contains("already"), "{error}");
            }
            other => assert_ne!((name, other.unwrap()), ("accounts_v1", 0)),
        }
    }
}

#[tokio::test]
async fn a_state_of_the_past_is_left_for_somebody_to_look_at() {
    let stage = Stage::new().await;
    let mut dice = Dice(9);
    let workers = stage.start(None);
    let head = stage.append(&history(&mut dice, 300)).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let log = log(&stage).await;
    for (position, length) in [(0, 0), (123, 123), (head, 300)] {
        // Twice: what is there is left as it is.
        for _ in 0..2 {
            for (name, outcome) in rebuild(&stage, ALL).keep_at(position).await {
                assert_eq!(outcome.unwrap(), position, "{name}");
            }
        }
        for projection in ALL.iter().copied() {
            let mut fresh = Fresh::new(&stage, projection, "past").await;
            fresh.apply(&log[..length]).await;
            let kept = rows(&stage, projection, &format!("read_at_{position}")).await;
            assert_eq!(kept, fresh.rows().await, "{} at {position}", projection.name());
        }
    }
    live_equals_the_log(&stage, ALL, "the past changes nothing").await;
    for position in [-1, head + 1, i64::MAX, i64::MIN] {
        for (_, outcome) in rebuild(&stage, ALL).keep_at(position).await {
            let error = outcome.unwrap_err();
            assert!(matches!(error, RebuildError::OutOfRange { .. }), "{error}");
        }
    }
    assert!(schemas(&stage).await.contains(&"read_at_123".to_owned()));
    projections::rebuild::discard_leftovers(&stage.pool).await.unwrap();
    assert!(!schemas(&stage).await.iter().any(|schema| schema.starts_with("read_")), "{:?}", schemas(&stage).await);
}

#[tokio::test]
async fn a_comparison_tells_which_rows_are_wrong() {
    let stage = Stage::new().await;
    let mut dice = Dice(10);
    let workers = stage.start(None);
    let head = stage.append(&history(&mut dice, 600)).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    for (name, compared) in rebuild(&stage, ALL).compare().await {
        let compared = compared.unwrap();
        assert_eq!((compared.projection, compared.position, compared.differing()), (name, head, 0));
        let empty: Vec<_> = compared.tables.iter().filter(|table| table.rows == 0).map(|table| table.table).collect();
        assert!(empty.is_empty(), "the history leaves nothing in {empty:?}");
    }
    let change =
        "update read.channels_v1 set title = 'Mine', version = version + 1 where handle = (select min(handle) from
             read.channels_v1);
         delete from read.streams_v1 where id = (select min(id::text)::uuid from read.streams_v1);
         insert into read.accounts_v1 select gen_random_uuid(), 'nobody', null, false, now(), now(), 1, 1";
    stage.pool.execute(change).await.unwrap();
    let mut found = Vec::new();
    for (_, compared) in rebuild(&stage, ALL).compare().await {
        for table in compared.unwrap().tables.into_iter().filter(|table| table.differing() > 0) {
            assert_eq!(table.examples.len(), 1);
            assert!(table.examples[0].key.starts_with(r#"{"id" : ""#), "{}", table.examples[0].key);
            found.push((
                table.table,
                table.missing,
                table.superfluous,
                table.different,
                table.examples[0].columns.clone(),
            ));
        }
    }
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!((found[0].0, found[0].1, found[0].2, found[0].3), ("accounts_v1", 0, 1, 0));
    assert_eq!(found[1], ("channels_v1", 0, 0, 1, vec!["title".to_owned(), "version".to_owned()]));
    assert_eq!((found[2].0, found[2].1, found[2].2, found[2].3), ("streams_v1", 1, 0, 0));
    assert!(!schemas(&stage).await.contains(&"read_check".to_owned()));

    exchange(&stage, ALL).await;
    live_equals_the_log(&stage, ALL, "rebuilt").await;
}

#[tokio::test]
async fn a_read_model_ahead_of_a_restored_log_is_recovered_by_a_rebuild() {
    let stage = Stage::new().await;
    let mut dice = Dice(11);
    let head = stage.append(&history(&mut dice, 100)).await;
    exchange(&stage, ALL).await;
    stage.pool.execute("update read.checkpoints set position = position + 50").await.unwrap();
    let workers = stage.start(None);
    let stopped =
        |state: &State| matches!(state, State::Stopped { error, .. } if error.contains("projections rebuild"));
    until("the stop", async || workers.projections.status().iter().all(|status| stopped(&status.state))).await;
    for (_, compared) in rebuild(&stage, ALL).compare().await {
        assert!(matches!(compared.unwrap_err(), RebuildError::Ahead { .. }));
    }
    assert_eq!(exchange(&stage, ALL).await, vec![head; ALL.len()]);
    let head = stage.append(&history(&mut dice, 10)).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    live_equals_the_log(&stage, ALL, "recovered").await;
}
