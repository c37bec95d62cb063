use domain::{
    Aggregate, Event,
    exports::{
        Export, ExportCommand, ExportDeletedReason, ExportEvent, ExportFilter, ExportFormat, ExportRefusal,
        ExportState, ExportWay,
    },
};
use time::Duration;

use crate::{NOW, given, id};

fn filter() -> ExportFilter {
    ExportFilter { types: vec!["channel.*".to_owned()], until: 42, ..ExportFilter::default() }
}

fn request() -> ExportCommand {
    ExportCommand::Request {
        export_id: id(1),
        by: Some(id(2)),
        way: ExportWay::Job,
        format: ExportFormat::Parquet,
        filter: filter(),
        names_accounts: false,
    }
}

fn requested() -> ExportEvent {
    ExportEvent::Requested {
        export_id: id(1),
        by: Some(id(2)),
        way: ExportWay::Job,
        format: ExportFormat::Parquet,
        filter: filter(),
        names_accounts: false,
        requested_at: NOW,
    }
}

fn complete() -> ExportCommand {
    ExportCommand::Complete { event_count: 7, size_bytes: 1_234, expires_at: Some(NOW + Duration::days(7)) }
}

fn completed() -> ExportEvent {
    ExportEvent::Completed {
        export_id: id(1),
        event_count: 7,
        size_bytes: 1_234,
        completed_at: NOW,
        expires_at: Some(NOW + Duration::days(7)),
    }
}

fn fail() -> ExportCommand {
    ExportCommand::Fail { reason: "The disk is full.".to_owned() }
}

fn failed() -> ExportEvent {
    ExportEvent::Failed { export_id: id(1), reason: "The disk is full.".to_owned(), failed_at: NOW }
}

fn delete(reason: ExportDeletedReason) -> ExportCommand {
    ExportCommand::Delete { reason }
}

fn deleted(reason: ExportDeletedReason) -> ExportEvent {
    ExportEvent::Deleted { export_id: id(1), reason, deleted_at: NOW }
}

#[test]
fn an_export_is_requested_once() {
    given::<Export>([]).when(request()).then([requested()]);
    given::<Export>([requested()]).when(request()).then_refused(ExportRefusal::AlreadyExists);
    assert_eq!(requested().claims(), []);
}

#[test]
fn it_is_completed_or_fails_once() {
    given::<Export>([requested()]).when(complete()).then([completed()]);
    given::<Export>([requested()]).when(fail()).then([failed()]);
    for over in [completed(), failed()] {
        given::<Export>([requested(), over.clone()]).when(complete()).then_refused(ExportRefusal::AlreadyEnded);
        given::<Export>([requested(), over]).when(fail()).then_refused(ExportRefusal::AlreadyEnded);
    }
    given::<Export>([]).when(complete()).then_refused(ExportRefusal::Unknown);
    given::<Export>([]).when(fail()).then_refused(ExportRefusal::Unknown);
}

#[test]
fn it_is_deleted_once_at_any_time() {
    use ExportDeletedReason::{AccountErased, Expired, Requested};
    for (before, reason) in [
        (vec![requested()], AccountErased),
        (vec![requested(), completed()], Expired),
        (vec![requested(), failed()], Requested),
    ] {
        given::<Export>(before).when(delete(reason)).then([deleted(reason)]);
    }
    let gone = [requested(), deleted(Requested)];
    given::<Export>(gone.clone()).when(delete(Expired)).then_refused(ExportRefusal::Deleted);
    given::<Export>(gone.clone()).when(complete()).then_refused(ExportRefusal::Deleted);
    given::<Export>(gone).when(fail()).then_refused(ExportRefusal::Deleted);
    given::<Export>([]).when(delete(Expired)).then_refused(ExportRefusal::Unknown);
}

#[test]
fn it_tells_what_was_asked_for_and_how_far_it_is() {
    let mut export = Export::default();
    assert_eq!((export.request(), export.state()), (None, None));
    for (event, state) in [
        (requested(), ExportState::Requested),
        (completed(), ExportState::Completed),
        (deleted(ExportDeletedReason::Expired), ExportState::Deleted),
    ] {
        export.apply(&event);
        assert_eq!(export.state(), Some(state));
    }
    let request = export.request().unwrap();
    assert_eq!((request.export_id, request.by, request.requested_at), (id(1), Some(id(2)), NOW));
    assert_eq!(request.filter, filter());
}

#[test]
fn formats_are_stored_and_sent_alike() {
    for format in [ExportFormat::Parquet, ExportFormat::Ndjson, ExportFormat::Csv] {
        assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
    }
}
