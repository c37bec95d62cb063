use domain::{
    Aggregate, Claim, Claimed, Event,
    ids::AccountId,
    reports::{
        DecidedSuspension, Report, ReportAction, ReportAnswer, ReportCommand, ReportEvent, ReportKind, ReportRefusal,
        ReportTarget, ReportText, ReportVerdict,
    },
    sealed::Sealed,
};

use time::Duration;

use crate::{NOW, given, id};

fn sealed(byte: u8) -> Sealed {
    Sealed { account_id: id(1), ciphertext: vec![byte; 40] }
}

fn recording() -> ReportTarget {
    ReportTarget::Recording { id: id(5) }
}

fn file(target: ReportTarget) -> ReportCommand {
    ReportCommand::File {
        report_id: id(7),
        account_id: id(1),
        target,
        owner_id: id(2),
        kind: ReportKind::Copyright,
        text: sealed(1),
        at_ms: Some(754_000),
    }
}

fn filed(target: ReportTarget) -> ReportEvent {
    ReportEvent::Filed {
        report_id: id(7),
        account_id: id(1),
        target,
        owner_id: id(2),
        kind: ReportKind::Copyright,
        text: sealed(1),
        at_ms: Some(754_000),
        filed_at: NOW,
    }
}

fn decide(verdict: ReportVerdict, action: ReportAction) -> ReportCommand {
    ReportCommand::Decide { by: id(9), verdict, action, answer: Some(sealed(2)), suspension: suspension(action) }
}

fn suspension(action: ReportAction) -> Option<DecidedSuspension> {
    let decided = DecidedSuspension { owner_id: id(2), reason: sealed(3), until: Some(NOW + Duration::days(7)) };
    Some(decided).filter(|_| action == ReportAction::SuspendAccount)
}

fn decided(target: ReportTarget, verdict: ReportVerdict, action: ReportAction) -> ReportEvent {
    ReportEvent::Decided {
        report_id: id(7),
        account_id: id(1),
        target,
        by: id(9),
        verdict,
        action,
        answer: Some(sealed(2)),
        suspension: suspension(action),
        decided_at: NOW,
    }
}

#[test]
fn somebody_reports_and_an_administrator_decides_once() {
    use ReportAction::{None, SuspendAccount, TakeDown};
    use ReportVerdict::{Dismissed, Upheld};
    given::<Report>([]).when(file(recording())).then([filed(recording())]);
    given::<Report>([filed(recording())]).when(file(recording())).then_refused(ReportRefusal::AlreadyExists);
    for (verdict, action) in [(Dismissed, None), (Upheld, None), (Upheld, TakeDown), (Upheld, SuspendAccount)] {
        let event = decided(recording(), verdict, action);
        given::<Report>([filed(recording())]).when(decide(verdict, action)).then([event.clone()]);
        given::<Report>([filed(recording()), event]).when(decide(verdict, action)).then([]);
    }
    given::<Report>([]).when(decide(Upheld, None)).then_refused(ReportRefusal::Unknown);
    given::<Report>([filed(recording()), decided(recording(), Dismissed, None)])
        .when(decide(Upheld, TakeDown))
        .then_refused(ReportRefusal::AlreadyDecided);
}

#[test]
fn only_what_can_be_is_done() {
    use ReportAction::{SuspendAccount, TakeDown};
    use ReportVerdict::{Dismissed, Upheld};
    let account_id: AccountId = id(2);
    for target in [ReportTarget::Channel { id: id(5) }, ReportTarget::Account { account_id }] {
        assert!(!target.can_be_taken_down());
        given::<Report>([filed(target)]).when(decide(Upheld, TakeDown)).then_refused(ReportRefusal::ActionImpossible);
        given::<Report>([filed(target)]).when(decide(Upheld, SuspendAccount)).then([decided(
            target,
            Upheld,
            SuspendAccount,
        )]);
    }
    let stream = ReportTarget::Stream { id: id(5) };
    given::<Report>([filed(stream)]).when(decide(Upheld, TakeDown)).then([decided(stream, Upheld, TakeDown)]);
    for action in [TakeDown, SuspendAccount] {
        given::<Report>([filed(stream)]).when(decide(Dismissed, action)).then_refused(ReportRefusal::ActionImpossible);
    }
}

#[test]
fn who_is_suspended_by_a_decision_stands_in_it() {
    use ReportAction::{None as Nothing, SuspendAccount};
    use ReportVerdict::Upheld;
    let mut report = Report::default();
    report.apply(&filed(recording()));
    assert_eq!(report.suspension(), None);
    report.apply(&decided(recording(), Upheld, SuspendAccount));
    assert_eq!(report.suspension(), suspension(SuspendAccount).as_ref().map(|decided| (id(9), decided)));
    // With another action it counts for nothing.
    let suspension = suspension(SuspendAccount);
    let command = ReportCommand::Decide { by: id(9), verdict: Upheld, action: Nothing, answer: None, suspension };
    let events = given::<Report>([filed(recording())]).when(command);
    events.then([ReportEvent::Decided {
        report_id: id(7),
        account_id: id(1),
        target: recording(),
        by: id(9),
        verdict: Upheld,
        action: Nothing,
        answer: None,
        suspension: None,
        decided_at: NOW,
    }]);
}

#[test]
fn a_report_of_something_is_open_once() {
    let name = format!("{} recording {}", id::<AccountId>(1), id::<AccountId>(5));
    let taken = Claim::Take { kind: Claimed::OpenReport, name: name.clone() };
    assert_eq!(filed(recording()).claims(), [taken]);
    let released = Claim::Release { kind: Claimed::OpenReport, name };
    assert_eq!(decided(recording(), ReportVerdict::Dismissed, ReportAction::None).claims(), [released]);
    assert_eq!(Report::claimed(Claimed::OpenReport), ReportRefusal::AlreadyReported);
}

/// Whoever may read what happens to a channel must not find in it who has reported it.
#[test]
fn no_event_of_a_report_belongs_to_a_channel() {
    for target in [recording(), ReportTarget::Channel { id: id(5) }, ReportTarget::Stream { id: id(5) }] {
        let json = serde_json::to_string(&filed(target)).unwrap();
        assert!(!json.contains("channel_id"), "{json}");
    }
}

#[test]
fn texts_are_some_words() {
    assert_eq!(ReportText::parse(" My film.\nAll of it. ").unwrap().as_str(), "My film.\nAll of it.");
    assert_eq!(ReportText::parse("").unwrap_err().code, "too_short");
    assert_eq!(ReportText::parse(&"x".repeat(2_001)).unwrap_err().code, "too_long");
    assert_eq!(ReportAnswer::parse(" Thank you. ").unwrap().as_str(), "Thank you.");
    assert_eq!(ReportAnswer::parse(&"x".repeat(2_001)).unwrap_err().code, "too_long");
}
