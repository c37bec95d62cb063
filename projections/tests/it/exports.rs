use domain::{
    DomainEvent,
    exports::{ExportDeletedReason, ExportEvent, ExportFilter, ExportFormat, ExportState, ExportWay},
    ids::{AccountId, ChannelId, ExportId},
};
use time::OffsetDateTime;

use crate::{
    history::{Dice, after_seconds, new},
    stage::{PATIENCE, Stage},
};

fn requested(export_id: ExportId, by: Option<AccountId>, way: ExportWay, at: OffsetDateTime) -> DomainEvent {
    let filter = ExportFilter {
        types: vec!["stream.*".to_owned(), "channel.created".to_owned()],
        subject: None,
        channel_id: Some(ChannelId::from(uuid::Uuid::from_u128(9))),
        after: 3,
        until: 77,
        from: Some(after_seconds(-60)),
        to: None,
    };
    DomainEvent::Export(ExportEvent::Requested {
        export_id,
        by,
        way,
        format: ExportFormat::Parquet,
        filter,
        names_accounts: false,
        requested_at: at,
    })
}

fn completed(export_id: ExportId, at: OffsetDateTime, expires_at: Option<OffsetDateTime>) -> DomainEvent {
    DomainEvent::Export(ExportEvent::Completed {
        export_id,
        event_count: 12,
        size_bytes: 3_456,
        completed_at: at,
        expires_at,
    })
}

fn failed(export_id: ExportId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Export(ExportEvent::Failed { export_id, reason: "the disk is full".to_owned(), failed_at: at })
}

fn deleted(export_id: ExportId, at: OffsetDateTime) -> DomainEvent {
    let reason = ExportDeletedReason::Requested;
    DomainEvent::Export(ExportEvent::Deleted { export_id, reason, deleted_at: at })
}

/// Something that happens to one of the exports that are not deleted, or a new one; `true` for those that have ended.
pub(crate) fn step(dice: &mut Dice, exports: &mut Vec<(ExportId, bool)>, at: OffsetDateTime) -> DomainEvent {
    if exports.is_empty() || dice.roll(3) == 0 {
        exports.push((new(), false));
        let way = [ExportWay::Job, ExportWay::Feed, ExportWay::CommandLine][dice.roll(3)];
        let by = (way != ExportWay::CommandLine).then(new);
        return requested(exports[exports.len() - 1].0, by, way, at);
    }
    let index = dice.roll(exports.len());
    let (export_id, has_ended) = exports[index];
    match dice.roll(3) {
        0 if !has_ended => {
            exports[index].1 = true;
            completed(export_id, at, Some(at + time::Duration::days(7)))
        }
        1 if !has_ended => {
            exports[index].1 = true;
            failed(export_id, at)
        }
        _ => {
            exports.swap_remove(index);
            deleted(export_id, at)
        }
    }
}

#[tokio::test]
async fn an_export_shows_what_was_asked_for_and_what_became_of_it() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, id): (AccountId, ExportId) = (new(), new());
    let exports = workers.read.exports();
    let head = stage.append(&[requested(id, Some(ann), ExportWay::Job, after_seconds(0))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = exports.by_id(id).await.unwrap().unwrap();
    assert_eq!((row.requested_by, row.way, row.format), (Some(ann), ExportWay::Job, ExportFormat::Parquet));
    assert_eq!((row.filter.after, row.filter.until, row.filter.from), (3, 77, Some(after_seconds(-60))));
    assert_eq!(row.filter.types, ["stream.*", "channel.created"]);
    assert_eq!((row.state, row.event_count, row.size_bytes), (ExportState::Requested, None, None));
    assert_eq!(exports.pending_jobs(ann).await.unwrap(), 1);

    let head = stage.append(&[completed(id, after_seconds(2), Some(after_seconds(100)))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = exports.by_id(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.event_count, row.size_bytes), (ExportState::Completed, Some(12), Some(3_456)));
    assert_eq!((row.completed_at, row.expires_at), (Some(after_seconds(2)), Some(after_seconds(100))));
    assert_eq!((row.created_at, row.updated_at, row.version), (after_seconds(0), after_seconds(2), 2));
    assert_eq!(exports.pending_jobs(ann).await.unwrap(), 0);
    assert_eq!(exports.expired(after_seconds(99), 10).await.unwrap(), []);
    assert_eq!(exports.expired(after_seconds(100), 10).await.unwrap(), [id]);

    let other: ExportId = new();
    let head = stage
        .append(&[
            deleted(id, after_seconds(3)),
            requested(other, Some(ann), ExportWay::Job, after_seconds(3)),
            failed(other, after_seconds(4)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(exports.by_id(id).await.unwrap().unwrap().state, ExportState::Deleted);
    assert_eq!(exports.expired(after_seconds(100), 10).await.unwrap(), []);
    let row = exports.by_id(other).await.unwrap().unwrap();
    assert_eq!((row.state, row.failure.as_deref()), (ExportState::Failed, Some("the disk is full")));
    assert_eq!(exports.by_id(new()).await.unwrap(), None);
}

#[tokio::test]
async fn the_list_holds_jobs_newest_first_ones_own_or_everybodys() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, ben): (AccountId, AccountId) = (new(), new());
    let ids: Vec<ExportId> = (0..6).map(|_| new()).collect();
    let at = after_seconds;
    let head = stage
        .append(&[
            requested(ids[0], Some(ann), ExportWay::Job, at(0)),
            requested(ids[1], Some(ben), ExportWay::Job, at(1)),
            requested(ids[2], Some(ann), ExportWay::Feed, at(2)),
            requested(ids[3], None, ExportWay::CommandLine, at(3)),
            requested(ids[4], Some(ann), ExportWay::Job, at(4)),
            requested(ids[5], Some(ann), ExportWay::Job, at(5)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let exports = workers.read.exports();
    let list = async |by, after: Option<&projections::Cursor>, limit| {
        let page = exports.jobs(by, after, limit).await.unwrap();
        (page.items.iter().map(|row| row.id).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = list(Some(ann), None, 2).await;
    assert_eq!(first, [ids[5], ids[4]]);
    assert_eq!(list(Some(ann), next.as_ref(), 2).await, (vec![ids[0]], None));
    assert_eq!(list(Some(ben), None, 9).await.0, [ids[1]]);
    assert_eq!(list(None, None, 9).await.0, [ids[5], ids[4], ids[1], ids[0]]);
}
