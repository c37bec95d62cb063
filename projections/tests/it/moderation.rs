use domain::{
    DomainEvent,
    accounts::{AccountEvent, AccountReinstated, AccountSuspended},
    ids::{AccountId, ChannelId, RecordingId, ReportId, StreamId},
    recordings::{RecordingEvent, RecordingState},
    reports::{ReportAction, ReportEvent, ReportKind, ReportTarget, ReportVerdict},
};
use projections::{
    accounts::{AccountFilter, ERASED_USERNAME},
    channels::ChannelFilter,
    reports::{ReportFilter, ReportState},
    streams::StreamFilter,
};
use time::{Duration, OffsetDateTime};

use crate::{
    history::{Dice, after_seconds, created, ended, erased, new, registered, started},
    stage::{PATIENCE, Stage, seal},
};

fn suspended(account_id: AccountId, until: Option<OffsetDateTime>, at: OffsetDateTime) -> DomainEvent {
    let reason = seal(account_id, "Two warnings");
    let suspended = AccountSuspended { account_id, by: Some(new()), reason, until, suspended_at: at };
    DomainEvent::Account(AccountEvent::Suspended(suspended))
}

fn reinstated(account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Account(AccountEvent::Reinstated(AccountReinstated { account_id, by: Some(new()), reinstated_at: at }))
}

fn filed(report_id: ReportId, account_id: AccountId, target: ReportTarget, owner_id: AccountId) -> DomainEvent {
    DomainEvent::Report(ReportEvent::Filed {
        report_id,
        account_id,
        target,
        owner_id,
        kind: ReportKind::Rules,
        text: seal(account_id, "This is not right"),
        at_ms: None,
        filed_at: after_seconds(100),
    })
}

fn decided(report_id: ReportId, account_id: AccountId, target: ReportTarget, by: AccountId) -> DomainEvent {
    DomainEvent::Report(ReportEvent::Decided {
        report_id,
        account_id,
        target,
        by,
        verdict: ReportVerdict::Upheld,
        action: ReportAction::None,
        answer: Some(seal(account_id, "Thank you")),
        suspension: None,
        decided_at: after_seconds(200),
    })
}

/// Something that administrators do, or that they are told.
pub(crate) fn step(
    dice: &mut Dice,
    reports: &mut Vec<(ReportId, AccountId)>,
    kept_out: &mut Vec<AccountId>,
    account_id: AccountId,
    at: OffsetDateTime,
) -> DomainEvent {
    let target = |account_id| ReportTarget::Account { account_id };
    match dice.roll(4) {
        0 => {
            kept_out.push(account_id);
            suspended(account_id, None, at)
        }
        1 if !kept_out.is_empty() => reinstated(kept_out.swap_remove(dice.roll(kept_out.len())), at),
        2 if !reports.is_empty() => {
            let (report_id, by) = reports.swap_remove(dice.roll(reports.len()));
            decided(report_id, by, target(by), account_id)
        }
        _ => {
            reports.push((new(), account_id));
            filed(reports[reports.len() - 1].0, account_id, target(account_id), account_id)
        }
    }
}

#[tokio::test]
async fn what_a_suspended_person_has_is_not_shown_until_that_is_over() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let read = &workers.read;
    let (mira, keeper): (AccountId, AccountId) = (new(), new());
    let (river, sea): (ChannelId, ChannelId) = (new(), new());
    let (stream, other, recording): (StreamId, StreamId, RecordingId) = (new(), new(), new());
    let kept = RecordingEvent::Started {
        recording_id: recording,
        stream_id: stream,
        channel_id: river,
        node_id: new(),
        title: domain::channels::Title::parse("Night").unwrap(),
        started_at: after_seconds(5),
    };
    let head = stage
        .append(&[
            registered(mira, "mira", after_seconds(0)),
            registered(keeper, "keeper", after_seconds(1)),
            created(river, mira, "river", after_seconds(2)),
            created(sea, keeper, "sea", after_seconds(3)),
            started(stream, river, after_seconds(4)),
            DomainEvent::Recording(kept),
            started(other, sea, after_seconds(6)),
        ])
        .await;
    assert!(read.wait_for(head, PATIENCE).await);
    let shown = async || {
        let channels = read.channels().page(ChannelFilter::default(), None, 10).await.unwrap().items;
        let streams = read.streams().page(StreamFilter::default(), None, 10).await.unwrap().items;
        let one_by_one = [
            read.channels().by_id(river).await.unwrap().is_some(),
            read.channels().by_handle("river").await.unwrap().is_some(),
            read.streams().by_id(stream).await.unwrap().is_some(),
            read.recordings().by_id(recording).await.unwrap().is_some(),
            !read.recordings().of_channel(river, true, None, 10).await.unwrap().items.is_empty(),
        ];
        (channels.len(), streams.len(), one_by_one)
    };
    assert_eq!(shown().await, (2, 2, [true; 5]));

    let head = stage.append(&[suspended(mira, None, after_seconds(7))]).await;
    assert!(read.wait_for(head, PATIENCE).await);
    assert_eq!(shown().await, (1, 1, [false; 5]));
    assert!(read.administered_accounts().is_suspended(mira).await.unwrap());
    assert!(!read.administered_accounts().is_suspended(keeper).await.unwrap());

    let head = stage.append(&[ended(stream, river, after_seconds(8)), reinstated(mira, after_seconds(9))]).await;
    assert!(read.wait_for(head, PATIENCE).await);
    assert_eq!(shown().await, (2, 2, [true; 5]));

    // Its time was over before anybody asked.
    let over = OffsetDateTime::now_utc() - Duration::SECOND;
    let head = stage.append(&[suspended(mira, Some(over), after_seconds(10))]).await;
    assert!(read.wait_for(head, PATIENCE).await);
    assert_eq!(shown().await, (2, 2, [true; 5]), "no event says that it is over");
    assert_eq!(read.recordings().by_id(recording).await.unwrap().unwrap().state, RecordingState::Recording);
}

#[tokio::test]
async fn administrators_find_accounts_by_name_and_state() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let accounts = workers.read.administered_accounts();
    let people: Vec<AccountId> = (0..4).map(|_| new()).collect();
    let names = ["mira", "miriam", "keeper", "nobody"];
    let mut events: Vec<_> =
        people.iter().zip(names).zip(0..).map(|((id, name), at)| registered(*id, name, after_seconds(at))).collect();
    events.push(suspended(people[1], Some(after_seconds(0) + Duration::days(36_500)), after_seconds(10)));
    events.push(erased(people[3], after_seconds(11)));
    events.push(created(new(), people[0], "river", after_seconds(12)));
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let found = async |search: Option<&str>, suspended| {
        let filter = AccountFilter { search: search.map(str::to_owned), suspended };
        let page = accounts.page(&filter, None, 10).await.unwrap();
        page.items.into_iter().map(|row| row.username).collect::<Vec<_>>()
    };
    assert_eq!(found(None, None).await, ["keeper", "miriam", "mira"]);
    assert_eq!(found(Some("MIR"), None).await, ["miriam", "mira"]);
    assert_eq!(found(Some("mir"), Some(true)).await, ["miriam"]);
    assert_eq!(found(None, Some(false)).await, ["keeper", "mira"]);
    assert!(found(Some("%"), None).await.is_empty());
    let first = accounts.page(&AccountFilter::default(), None, 2).await.unwrap();
    let rest = accounts.page(&AccountFilter::default(), first.next.as_ref(), 2).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
    let miriam = accounts.by_id(people[1]).await.unwrap().unwrap();
    assert_eq!(miriam.suspension.unwrap().suspended_at, after_seconds(10));
    let mira = accounts.by_id(people[0]).await.unwrap().unwrap();
    assert_eq!((mira.channel_count, mira.suspension), (1, None));
    assert_eq!(accounts.by_id(people[3]).await.unwrap(), None, "erased");
}

#[tokio::test]
async fn reports_say_what_they_are_about_as_it_is_now() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let reports = workers.read.reports();
    let (mira, owner, keeper): (AccountId, AccountId, AccountId) = (new(), new(), new());
    let (river, stream): (ChannelId, StreamId) = (new(), new());
    let ids: Vec<ReportId> = (0..3).map(|_| new()).collect();
    let targets = [
        ReportTarget::Stream { id: stream },
        ReportTarget::Channel { id: river },
        ReportTarget::Account { account_id: owner },
    ];
    let mut events = vec![
        registered(mira, "mira", after_seconds(0)),
        registered(owner, "owner", after_seconds(1)),
        registered(keeper, "keeper", after_seconds(2)),
        created(river, owner, "river", after_seconds(3)),
        started(stream, river, after_seconds(4)),
    ];
    events.extend(ids.iter().zip(targets).map(|(id, target)| filed(*id, mira, target, owner)));
    events.push(decided(ids[1], mira, targets[1], keeper));
    events.push(suspended(owner, None, after_seconds(300)));
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);

    let of_stream = reports.by_id(ids[0]).await.unwrap().unwrap();
    assert_eq!((of_stream.target, of_stream.kind), (targets[0], ReportKind::Rules));
    // What is hidden is known to who decides.
    assert_eq!(of_stream.target_handle.as_deref(), Some("river"));
    assert_eq!(of_stream.target_title.as_deref(), Some("On the water"));
    assert!(of_stream.is_owner_suspended);
    assert_eq!((of_stream.username.as_str(), of_stream.owner_username.as_str()), ("mira", "owner"));
    assert_eq!((of_stream.verdict, of_stream.decided_by, of_stream.answer), (None, None, None));
    let of_channel = reports.by_id(ids[1]).await.unwrap().unwrap();
    assert_eq!(of_channel.verdict, Some(ReportVerdict::Upheld));
    assert_eq!((of_channel.action, of_channel.decided_by.as_deref()), (Some(ReportAction::None), Some("keeper")));
    assert_eq!((of_channel.answer, of_channel.decided_at), (Some(seal(mira, "Thank you")), Some(after_seconds(200))));
    let of_account = reports.by_id(ids[2]).await.unwrap().unwrap();
    assert_eq!((of_account.target_handle, of_account.target_title), (None, None));

    let count = async |filter| reports.page(filter, None, 10).await.unwrap().items.len();
    assert_eq!(count(ReportFilter::default()).await, 3);
    assert_eq!(count(ReportFilter { state: Some(ReportState::Open), by: None }).await, 2);
    let upheld = ReportState::Decided(ReportVerdict::Upheld);
    assert_eq!(count(ReportFilter { state: Some(upheld), by: Some(mira) }).await, 1);
    assert_eq!(count(ReportFilter { state: None, by: Some(owner) }).await, 0);

    let head = stage.append(&[erased(mira, after_seconds(400))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(reports.by_id(ids[0]).await.unwrap().unwrap().username, ERASED_USERNAME);
}
