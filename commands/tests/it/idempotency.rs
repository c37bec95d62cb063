//! Requests that are sent twice.

use std::time::Duration;

use commands::{
    Actor, CommandError, Commands, Committed, Idempotency, Metadata,
    idempotency::{Done, InFlight, RecallError, Recalled},
};
use domain::{
    channels::{Channel, ChannelRefusal},
    ids::ChannelId,
};
use uuid::Uuid;

use crate::stage::{
    Stage, account_id, bare_channel, create_command, hold_the_head, metadata, retitle, wait_until_waiting,
};

fn with_key(actor: Actor, idempotency: &Idempotency) -> Metadata {
    Metadata { idempotency: Some(idempotency.clone()), ..Metadata::new(actor) }
}

async fn create(
    commands: &Commands,
    handle: &str,
    metadata: Metadata,
) -> Result<(ChannelId, Committed), CommandError<ChannelRefusal>> {
    let channel_id = ChannelId::from(Uuid::now_v7());
    let command = create_command(channel_id, account_id(), handle);
    let committed = commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?;
    Ok((channel_id, committed))
}

async fn new(commands: &Commands, actor: Actor, idempotency: &Idempotency) -> InFlight {
    match commands.recall(actor, idempotency).await.unwrap() {
        Recalled::New(in_flight) => in_flight,
        Recalled::Done(done) => panic!("{done:?}"),
    }
}

async fn done(commands: &Commands, actor: Actor, idempotency: &Idempotency) -> Done {
    match commands.recall(actor, idempotency).await.unwrap() {
        Recalled::New(_) => panic!("it was carried out"),
        Recalled::Done(done) => done,
    }
}

/// Each kept key names the last event of its command.
async fn assert_keys_name_their_events(stage: &Stage, total: i64) {
    let (kept, right): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where event.command_id = command.command_id::text \
             and event.aggregate_id = command.aggregate_id and event.recorded_at = command.recorded_at) \
         from log.commands command left join ( \
             select max(position) as position, metadata->>'command_id' as command_id, aggregate_id, recorded_at \
             from log.events group by 2, 3, 4 \
         ) event using (position)",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!((kept, right), (total, total));
}

#[tokio::test]
async fn a_repeat_is_answered_and_not_carried_out() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let actor = Actor::Account(account_id());
    let request = commands.idempotency("key", &[b"POST", b"/channels", b"{}"]).unwrap();
    let in_flight = new(&commands, actor, &request).await;
    let metadata = with_key(actor, &request);
    let command_id = metadata.command_id;
    let (channel_id, committed) = create(&commands, "my_channel", metadata).await.unwrap();
    // It ended before it answered, as far as others can tell.
    let unanswered = done(&other, actor, &request).await;
    assert_eq!((unanswered.position, unanswered.aggregate_id), (committed.position, channel_id.to_string()));
    assert_eq!(unanswered.command_id, command_id);
    assert!(unanswered.response.is_none());

    commands.remember_response(actor, &request, command_id, b"201 created").await.unwrap();
    drop(in_flight);
    for commands in [&commands, &other] {
        assert_eq!(**done(commands, actor, &request).await.response.as_ref().unwrap(), *b"201 created");
    }
    commands.remember_response(actor, &request, command_id, b"something else").await.unwrap();
    assert_eq!(**done(&commands, actor, &request).await.response.as_ref().unwrap(), *b"201 created");

    let another = commands.idempotency("key", &[b"POST", b"/channels", b"{ }"]).unwrap();
    assert!(matches!(commands.recall(actor, &another).await, Err(RecallError::Reused)));
    // A key is its actor's own.
    new(&commands, Actor::Account(account_id()), &another).await;
    new(&commands, actor, &commands.idempotency("Key", &[b"POST", b"/channels", b"{}"]).unwrap()).await;

    let stored: Vec<u8> = sqlx::query_scalar("select response from log.commands").fetch_one(&stage.pool).await.unwrap();
    assert!(!stored.windows(7).any(|window| window == b"created"), "what was answered is not for everybody");
    assert_keys_name_their_events(&stage, 1).await;
    assert_eq!(stage.positions().await, [1]);
}

#[tokio::test]
async fn one_is_carried_out_while_the_other_is_told_to_wait() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let actor = Actor::Account(account_id());
    let request = commands.idempotency("key", &[b"request"]).unwrap();
    let in_flight = new(&commands, actor, &request).await;
    assert!(matches!(commands.recall(actor, &request).await, Err(RecallError::InFlight)));
    create(&commands, "my_channel", with_key(actor, &request)).await.unwrap();
    assert!(matches!(commands.recall(actor, &request).await, Err(RecallError::InFlight)), "the response is being made");
    drop(in_flight);
    done(&commands, actor, &request).await;

    let given_up = commands.idempotency("given up", &[b"request"]);
    assert!(given_up.is_err(), "a blank is not visible");
    let given_up = commands.idempotency("given_up", &[b"request"]).unwrap();
    drop(new(&commands, actor, &given_up).await);
    new(&commands, actor, &given_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_at_once_append_once() {
    const ROUNDS: usize = 25;
    let stage = Stage::new().await;
    let processes = [stage.commands().await, stage.commands().await];
    let actor = Actor::Account(account_id());
    let mut repeated = 0;
    for round in 0..ROUNDS {
        let tasks: Vec<_> = processes
            .iter()
            .cloned()
            .enumerate()
            .map(|(process, commands)| {
                tokio::spawn(async move {
                    let request = commands.idempotency(&format!("key-{round}"), &[b"request"]).unwrap();
                    let in_flight = match commands.recall(actor, &request).await.unwrap() {
                        Recalled::New(in_flight) => in_flight,
                        Recalled::Done(_) => return None,
                    };
                    // In every other round nothing but the key is in the way.
                    let handle = if round % 2 == 0 { format!("r_{round}") } else { format!("r_{round}_{process}") };
                    let created = create(&commands, &handle, with_key(actor, &request)).await;
                    drop(in_flight);
                    Some(created)
                })
            })
            .collect();
        let mut created = 0;
        for task in tasks {
            match task.await.unwrap() {
                None => {}
                Some(Ok(_)) => created += 1,
                Some(Err(CommandError::Repeated)) => repeated += 1,
                Some(Err(error)) => panic!("{error:?}"),
            }
        }
        assert_eq!(created, 1);
        let request = processes[0].idempotency(&format!("key-{round}"), &[b"request"]).unwrap();
        done(&processes[0], actor, &request).await;
    }
    println!("{repeated} of {ROUNDS} were decided by the log");
    assert_eq!(stage.positions().await.len(), ROUNDS);
    assert_keys_name_their_events(&stage, ROUNDS as i64).await;
    stage.assert_contiguous().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_does_not_keep_the_rest_of_its_batch() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let actor = Actor::Account(account_id());
    let used = other.idempotency("used", &[b"request"]).unwrap();
    create(&other, "used", with_key(actor, &used)).await.unwrap();

    let head = hold_the_head(&stage).await;
    let give = |handle: &str, key: Option<&str>| {
        let (commands, handle) = (commands.clone(), handle.to_owned());
        let idempotency = key.map(|key| commands.idempotency(key, &[b"request"]).unwrap());
        let metadata = Metadata { idempotency, ..Metadata::new(actor) };
        tokio::spawn(async move { create(&commands, &handle, metadata).await })
    };
    let first = give("first", None);
    wait_until_waiting(&stage).await;
    let good: Vec<_> = (0..5)
        .flat_map(|number| {
            [give(&format!("keyed_{number}"), Some(&format!("key-{number}"))), give(&format!("plain_{number}"), None)]
        })
        .collect();
    let late = give("late", Some("used"));
    let twins = [give("one", Some("twin")), give("two", Some("twin"))];
    tokio::time::sleep(Duration::from_millis(100)).await;
    sqlx::Connection::close(head).await.unwrap();

    first.await.unwrap().unwrap();
    for good in good {
        good.await.unwrap().unwrap();
    }
    assert!(matches!(late.await.unwrap(), Err(CommandError::Repeated)));
    let mut created = 0;
    for twin in twins {
        match twin.await.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert!(matches!(error, CommandError::Repeated), "{error:?}"),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(stage.positions().await.len(), 1 + 1 + 10 + 1);
    assert_keys_name_their_events(&stage, 1 + 5 + 1).await;
    stage.assert_contiguous().await;
}

#[tokio::test]
async fn what_was_refused_or_had_nothing_to_do_is_decided_anew() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let owner = account_id();
    let actor = Actor::Account(owner);
    let id = bare_channel(&commands, owner, "my_channel").await.to_string();
    let request = commands.idempotency("key", &[b"request"]).unwrap();
    let refused = create(&commands, "my_channel", with_key(actor, &request)).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::HandleTaken))));
    drop(new(&commands, actor, &request).await);
    let nothing = commands.execute::<Channel>(&id, retitle(owner, "A title"), with_key(actor, &request)).await.unwrap();
    assert_eq!(nothing.version, 1);
    drop(new(&commands, actor, &request).await);

    // Both found the key unused, and one was faster.
    let version_1 = domain::channels::ChannelCommand::ChangeDetails {
        by: owner,
        expected_version: Some(1),
        title: Some(crate::stage::title("New")),
        description: None,
        visibility: None,
    };
    other.execute::<Channel>(&id, version_1.clone(), with_key(actor, &request)).await.unwrap();
    let repeated = commands.execute::<Channel>(&id, version_1.clone(), with_key(actor, &request)).await;
    assert!(matches!(repeated, Err(CommandError::Repeated)), "stale by its own doing: {repeated:?}");
    let refused = commands.execute::<Channel>(&id, version_1, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::VersionStale { current: 2 }))));
    assert_eq!(stage.positions().await.len(), 2);
}

#[tokio::test]
async fn keys_run_out_and_are_erased_with_their_account() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (actor, other) = (Actor::Account(account_id()), Actor::Account(account_id()));
    let request = commands.idempotency("key", &[b"request"]).unwrap();
    let metadata = with_key(actor, &request);
    let command_id = metadata.command_id;
    create(&commands, "first", metadata).await.unwrap();
    commands.remember_response(actor, &request, command_id, b"first").await.unwrap();
    create(&commands, "theirs", with_key(other, &request)).await.unwrap();
    assert_eq!(commands.forget_expired_requests().await.unwrap(), 0);
    let run_out = async |actor: Actor| {
        sqlx::query("update log.commands set expires_at = now() where actor = $1")
            .bind(actor.to_string())
            .execute(&stage.pool)
            .await
            .unwrap();
    };
    run_out(actor).await;
    // Carried out again before anybody has tidied, and its answer is not the old one.
    drop(new(&commands, actor, &request).await);
    create(&commands, "second", with_key(actor, &request)).await.unwrap();
    let again = done(&commands, actor, &request).await;
    assert_eq!(again.position, 3);
    assert!(again.response.is_none());
    commands.remember_response(actor, &request, command_id, b"late").await.unwrap();
    assert!(done(&commands, actor, &request).await.response.is_none(), "an answer belongs to its command");

    run_out(other).await;
    assert_eq!(commands.forget_expired_requests().await.unwrap(), 1);
    commands.forget_requests(actor).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from log.commands").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn keys_are_visible_ascii() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    for invalid in ["", "a b", "ä", "a\n", &"x".repeat(256)] {
        assert!(commands.idempotency(invalid, &[]).is_err(), "{invalid:?}");
    }
    for valid in ["a", "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00", &"x".repeat(255)] {
        let request = commands.idempotency(valid, &[]).unwrap();
        create(&commands, &format!("h_{}", valid.len()), with_key(Actor::System, &request)).await.unwrap();
        done(&commands, Actor::System, &request).await;
    }
    // What is asked for is told by all of its parts.
    assert_ne!(commands.idempotency("a", &[b"ab", b"c"]), commands.idempotency("a", &[b"a", b"bc"]));
}
