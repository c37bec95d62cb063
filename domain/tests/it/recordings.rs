use domain::{
    Aggregate, Claim, Claimed, Event,
    channels::{Channel, ChannelCommand, ChannelEvent, ChannelRefusal, Description, Handle, Title},
    recordings::{
        CutShort, FinishedRecording, RecordedRendition, Recording, RecordingCommand, RecordingDeletedReason,
        RecordingEvent, RecordingFailure, RecordingLimits, RecordingPolicy, RecordingRefusal, RecordingState,
        RecordingVisibility,
    },
};

use crate::{NOW, given, id};

fn title(text: &str) -> Title {
    Title::parse(text).unwrap()
}

fn start() -> RecordingCommand {
    RecordingCommand::Start {
        recording_id: id(1),
        stream_id: id(2),
        channel_id: id(3),
        node_id: id(4),
        title: title("The night train"),
    }
}

fn started() -> RecordingEvent {
    RecordingEvent::Started {
        recording_id: id(1),
        stream_id: id(2),
        channel_id: id(3),
        node_id: id(4),
        title: title("The night train"),
        started_at: NOW,
    }
}

fn finished() -> FinishedRecording {
    let source = RecordedRendition {
        name: "source".to_owned(),
        width: 1_280,
        height: 720,
        codecs: "avc1.64001f,mp4a.40.2".to_owned(),
        bitrate_bps: 2_500_000,
    };
    FinishedRecording {
        duration_ms: 60_000,
        size_bytes: 1_000,
        renditions: vec![source],
        gap_count: 1,
        cut_short: Some(CutShort::StorageFull),
    }
}

fn publish() -> RecordingCommand {
    RecordingCommand::Publish { finished: finished() }
}

fn published() -> RecordingEvent {
    let FinishedRecording { duration_ms, size_bytes, renditions, gap_count, cut_short } = finished();
    RecordingEvent::Published {
        recording_id: id(1),
        channel_id: id(3),
        duration_ms,
        size_bytes,
        renditions,
        gap_count,
        cut_short,
        published_at: NOW,
    }
}

fn fail() -> RecordingCommand {
    RecordingCommand::Fail { reason: RecordingFailure::Empty }
}

fn failed() -> RecordingEvent {
    RecordingEvent::Failed { recording_id: id(1), channel_id: id(3), reason: RecordingFailure::Empty, failed_at: NOW }
}

fn edit(expected_version: Option<i64>, new_title: Option<&str>) -> RecordingCommand {
    RecordingCommand::Edit {
        expected_version,
        title: new_title.map(title),
        visibility: Some(RecordingVisibility::Unlisted),
        is_download_allowed: None,
    }
}

fn edited(new_title: &str, is_download_allowed: bool) -> RecordingEvent {
    RecordingEvent::Edited {
        recording_id: id(1),
        channel_id: id(3),
        title: title(new_title),
        visibility: RecordingVisibility::Unlisted,
        is_download_allowed,
        edited_at: NOW,
    }
}

fn delete(by: Option<u128>, reason: RecordingDeletedReason) -> RecordingCommand {
    RecordingCommand::Delete { by: by.map(id), reason }
}

fn deleted(by: Option<u128>, reason: RecordingDeletedReason) -> RecordingEvent {
    RecordingEvent::Deleted {
        recording_id: id(1),
        channel_id: id(3),
        stream_id: id(2),
        by: by.map(id),
        reason,
        deleted_at: NOW,
    }
}

#[test]
fn a_stream_has_one_recording() {
    given::<Recording>([]).when(start()).then([started()]);
    given::<Recording>([started()]).when(start()).then_refused(RecordingRefusal::AlreadyExists);
    let name = id::<domain::ids::StreamId>(2).to_string();
    assert_eq!(started().claims(), [Claim::Take { kind: Claimed::RecordedStream, name }]);
    // It is not given back: the stream is not recorded again.
    for event in [published(), failed(), deleted(None, RecordingDeletedReason::Quota)] {
        assert_eq!(event.claims(), []);
    }
    assert_eq!(Recording::claimed(Claimed::RecordedStream), RecordingRefusal::StreamRecorded);
}

#[test]
fn it_is_published_or_fails_once() {
    given::<Recording>([started()]).when(publish()).then([published()]);
    given::<Recording>([started()]).when(fail()).then([failed()]);
    for over in [published(), failed()] {
        given::<Recording>([started(), over.clone()]).when(publish()).then_refused(RecordingRefusal::AlreadyFinished);
        given::<Recording>([started(), over]).when(fail()).then_refused(RecordingRefusal::AlreadyFinished);
    }
    given::<Recording>([]).when(publish()).then_refused(RecordingRefusal::Unknown);
    let gone = [started(), deleted(None, RecordingDeletedReason::ChannelClosed)];
    given::<Recording>(gone.clone()).when(publish()).then_refused(RecordingRefusal::Deleted);
    given::<Recording>(gone).when(edit(None, None)).then_refused(RecordingRefusal::Deleted);
}

#[test]
fn what_was_given_up_with_its_node_is_published_when_the_node_is_back() {
    let lost = || RecordingEvent::Failed {
        recording_id: id(1),
        channel_id: id(3),
        reason: RecordingFailure::NodeLost,
        failed_at: NOW,
    };
    let give_up = || RecordingCommand::Fail { reason: RecordingFailure::NodeLost };
    given::<Recording>([started()]).when(give_up()).then([lost()]);
    given::<Recording>([started(), lost()]).when(publish()).then([published()]);
    // Once, and what was published before stays so.
    given::<Recording>([started(), lost(), published()])
        .when(publish())
        .then_refused(RecordingRefusal::AlreadyFinished);
    given::<Recording>([started(), lost(), published()])
        .when(give_up())
        .then_refused(RecordingRefusal::AlreadyFinished);
    given::<Recording>([started(), lost()]).when(fail()).then_refused(RecordingRefusal::AlreadyFinished);
    let gone = deleted(None, RecordingDeletedReason::Retention);
    given::<Recording>([started(), lost(), gone]).when(publish()).then_refused(RecordingRefusal::Deleted);

    let mut recording = Recording::default();
    for (event, is_unfinished) in [(started(), true), (lost(), true), (published(), false)] {
        recording.apply(&event);
        assert_eq!(recording.is_unfinished(), is_unfinished);
    }
}

#[test]
fn an_edit_names_all_and_counts_versions() {
    given::<Recording>([started(), published()]).when(edit(Some(2), Some("Again"))).then([edited("Again", false)]);
    given::<Recording>([started(), published()])
        .when(edit(Some(1), Some("Again")))
        .then_refused(RecordingRefusal::VersionStale { current: 2 });
    let before = [started(), published(), edited("Again", true)];
    given::<Recording>(before.clone()).when(edit(None, None)).then([]);
    given::<Recording>(before).when(edit(None, Some("Third"))).then([edited("Third", true)]);
    given::<Recording>([]).when(edit(None, None)).then_refused(RecordingRefusal::Unknown);
}

#[test]
fn its_owner_deletes_it_when_it_is_complete_and_weir_whenever_it_must() {
    use RecordingDeletedReason::{AccountErased, ChannelClosed, Owner, Retention};
    given::<Recording>([started()]).when(delete(Some(9), Owner)).then_refused(RecordingRefusal::NotFinished);
    for over in [published(), failed()] {
        given::<Recording>([started(), over]).when(delete(Some(9), Owner)).then([deleted(Some(9), Owner)]);
    }
    for reason in [ChannelClosed, AccountErased] {
        given::<Recording>([started()]).when(delete(None, reason)).then([deleted(None, reason)]);
    }
    let gone = [started(), published(), deleted(None, Retention)];
    given::<Recording>(gone).when(delete(None, Retention)).then_refused(RecordingRefusal::Deleted);
    given::<Recording>([]).when(delete(None, Retention)).then_refused(RecordingRefusal::Unknown);
}

#[test]
fn it_tells_how_far_it_is() {
    let mut recording = Recording::default();
    assert_eq!((recording.origin(), recording.state(), recording.size_bytes()), (None, None, 0));
    for (event, state, size_bytes) in [
        (started(), RecordingState::Recording, 0),
        (published(), RecordingState::Published, 1_000),
        (deleted(None, RecordingDeletedReason::Quota), RecordingState::Deleted, 1_000),
    ] {
        recording.apply(&event);
        assert_eq!((recording.state(), recording.size_bytes()), (Some(state), size_bytes));
    }
    let origin = recording.origin().unwrap();
    assert_eq!((origin.recording_id, origin.stream_id, origin.node_id), (id(1), id(2), id(4)));
}

#[test]
fn words_are_stored_and_sent_alike() {
    use RecordingVisibility::{Archived, Published, Unlisted};
    for visibility in [Published, Unlisted, Archived] {
        assert_eq!(serde_json::to_value(visibility).unwrap(), visibility.as_str());
    }
    for cut_short in [CutShort::StorageFull, CutShort::StorageUnavailable, CutShort::Crashed, CutShort::Quota] {
        assert_eq!(serde_json::to_value(cut_short).unwrap(), cut_short.as_str());
    }
    for failure in [
        RecordingFailure::Empty,
        RecordingFailure::StorageFull,
        RecordingFailure::StorageUnavailable,
        RecordingFailure::NodeLost,
    ] {
        assert_eq!(serde_json::to_value(failure).unwrap(), failure.as_str());
    }
    for state in [RecordingState::Recording, RecordingState::Published, RecordingState::Failed, RecordingState::Deleted]
    {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[test]
fn of_two_limits_the_lower_counts() {
    let own = RecordingPolicy { is_on: true, keep_days: Some(7), max_size_bytes: Some(900), max_count: None };
    let limits = RecordingLimits { keep_days: Some(90), max_size_bytes: Some(500), max_count: Some(3) };
    let both = RecordingLimits { keep_days: Some(7), max_size_bytes: Some(500), max_count: Some(3) };
    assert_eq!(own.within(limits), both);
    let own_alone = RecordingLimits { keep_days: Some(7), max_size_bytes: Some(900), max_count: None };
    assert_eq!(own.within(RecordingLimits::default()), own_alone);
    assert_eq!(RecordingPolicy::default().within(RecordingLimits::default()), RecordingLimits::default());
}

#[test]
fn a_channels_owner_says_whether_its_streams_are_recorded() {
    let created = || ChannelEvent::Created {
        channel_id: id(3),
        owner_id: id(9),
        handle: Handle::parse("night_train").unwrap(),
        title: title("The night train"),
        description: Description::default(),
        stream_key: id(5),
        created_at: NOW,
    };
    let on = RecordingPolicy { is_on: true, keep_days: Some(7), ..RecordingPolicy::default() };
    let changed = ChannelEvent::RecordingChanged { channel_id: id(3), recording: on, changed_at: NOW };
    let change = |by, recording| ChannelCommand::ChangeRecording { by: id(by), recording };
    given::<Channel>([created()]).when(change(9, on)).then([changed.clone()]);
    given::<Channel>([created(), changed.clone()]).when(change(9, on)).then([]);
    given::<Channel>([created()]).when(change(8, on)).then_refused(ChannelRefusal::NotAllowed);
    given::<Channel>([]).when(change(9, on)).then_refused(ChannelRefusal::Unknown);
    let mut channel = Channel::default();
    assert_eq!(channel.recording(), None);
    channel.apply(&created());
    assert_eq!(channel.recording(), Some(RecordingPolicy::default()));
    channel.apply(&changed);
    assert_eq!(channel.recording(), Some(on));
}
