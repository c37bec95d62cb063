//! Where projections stand, and trying again.

use std::time::Duration;

use projections::{ALL, Listed, Standing, State, list, retry};
use sqlx::Executor;

use crate::{
    fallible::{Counting, Fault, POISON},
    history::{BEGIN, details_changed, new, registered},
    stage::{PATIENCE, Stage, Workers, until},
};

async fn listed(stage: &Stage, name: &str) -> Listed {
    list(&stage.pool).await.unwrap().into_iter().find(|listed| listed.name == name).unwrap()
}

fn state(workers: &Workers) -> State {
    workers.projections.status()[0].state.clone()
}

#[tokio::test]
async fn all_projections_are_listed_with_where_they_stand() {
    let stage = Stage::new().await;
    let mut names: Vec<_> = ALL.iter().map(|projection| projection.name()).collect();
    names.sort_unstable();
    let before = list(&stage.pool).await.unwrap();
    assert_eq!(before.iter().map(|listed| &*listed.name).collect::<Vec<_>>(), names);
    for listed in &before {
        assert_eq!((listed.position, listed.head, listed.lag_events()), (0, 0, 0));
        assert_eq!((&listed.standing, listed.lag, listed.is_known), (&Standing::CaughtUp, Duration::ZERO, true));
    }
    let workers = stage.start(None);
    let head = stage.append(&[registered(new(), "ann", BEGIN), registered(new(), "bob", BEGIN)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    workers.end().await;
    for listed in list(&stage.pool).await.unwrap() {
        assert_eq!((listed.position, listed.lag_events(), listed.standing), (2, 0, Standing::CaughtUp));
    }

    // Just now, however long this takes, and a while ago.
    stage.append(&[registered(new(), "cid", BEGIN)]).await;
    stage.pool.execute("update read.checkpoints set updated_at = now() + interval '1 hour'").await.unwrap();
    let moving = listed(&stage, "accounts_v1").await;
    assert_eq!((moving.lag_events(), &moving.standing), (1, &Standing::Moving));
    let age = "alter table log.events disable trigger all;
         update log.events set recorded_at = now() - interval '1 minute' where position = 3;
         update read.checkpoints set updated_at = now() - interval '1 minute'";
    stage.pool.execute(age).await.unwrap();
    let behind = listed(&stage, "accounts_v1").await;
    assert_eq!(behind.standing, Standing::Behind);
    assert!((60..600).contains(&behind.lag.as_secs()), "{:?}", behind.lag);

    let more = "update read.checkpoints set position = 9 where projection = 'streams_v1';
         insert into read.checkpoints (projection, position) values ('rockets_v1', 1)";
    stage.pool.execute(more).await.unwrap();
    assert_eq!(listed(&stage, "streams_v1").await.standing, Standing::Ahead);
    assert!(!listed(&stage, "rockets_v1").await.is_known);
    assert!(retry(&stage.pool, &projections::streams::StreamsV1).await.unwrap());
}

#[tokio::test]
async fn who_stands_still_tries_again_when_asked() {
    let stage = Stage::new().await;
    let (projection, counting) = Counting::new(&stage, Fault::Refused, false).await;
    assert!(!retry(&stage.pool, counting[0]).await.unwrap(), "it was never there");
    // In two processes.
    let (one, two) = (stage.start_some(counting, None), stage.start_some(counting, None));
    let titled = |title: &str| details_changed(new(), title, BEGIN);
    let head = stage.append(&[titled("one"), titled(POISON), titled("three")]).await;
    let is_stopped = |state: State| matches!(state, State::Stopped { position: 2, .. });
    until("both to stop", async || is_stopped(state(&one)) && is_stopped(state(&two))).await;
    let stopped = listed(&stage, "counting_v1").await;
    assert_eq!((stopped.position, stopped.lag_events(), stopped.failed_events), (1, 2, 1));
    let Standing::Stopped { position: 2, error, attempts } = stopped.standing else { panic!("{stopped:?}") };
    assert!(error.contains("counting_v1_title_check"), "{error}");

    // Nothing has changed: tried again, and stopped again.
    assert!(retry(&stage.pool, counting[0]).await.unwrap());
    until("another attempt", async || {
        matches!(listed(&stage, "counting_v1").await.standing, Standing::Stopped { attempts: now, .. } if now > attempts)
    })
    .await;
    until("both to stop again", async || is_stopped(state(&one)) && is_stopped(state(&two))).await;

    projection.cure(&stage).await;
    // One of the two may hear of the first time only now, and be past it before it is asked again.
    retry(&stage.pool, counting[0]).await.unwrap();
    assert!(one.read.wait_for_some(counting, head, PATIENCE).await);
    assert!(two.read.wait_for_some(counting, head, PATIENCE).await);
    until("one at work, one standing by", async || {
        stage.append(&[titled("more")]).await;
        let states = [state(&one), state(&two)];
        states.contains(&State::Following) && !states.iter().any(|state| is_stopped(state.clone()))
    })
    .await;
    assert!(!retry(&stage.pool, counting[0]).await.unwrap());
    assert_eq!(stage.count("select count(*) from read.failed_events where resolved_at is null").await, 0);
    assert_eq!(stage.count("select count(*) from read.counting_v1 where title <> 'more'").await, 3);
    let listed = listed(&stage, "counting_v1").await;
    assert_eq!((listed.failed_events, listed.is_known), (0, false));
}

#[tokio::test]
async fn a_rebuild_on_its_way_is_listed() {
    let stage = Stage::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, false).await;
    stage.append(&[details_changed(new(), "one", BEGIN), details_changed(new(), POISON, BEGIN)]).await;
    let rebuild = projections::rebuild::Rebuild::new(stage.pool.clone(), stage.keys.clone(), counting.iter().copied());
    rebuild.exchange().await.remove(0).1.unwrap_err();
    assert_eq!(listed(&stage, "counting_v1").await.rebuild, Some(1));
    assert_eq!(listed(&stage, "accounts_v1").await.rebuild, None);
}
