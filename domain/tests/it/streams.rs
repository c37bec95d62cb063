use domain::{
    Aggregate, Claim, Claimed, Event,
    ids::NodeId,
    streams::{
        AudioTrack, EncoderName, EndReason, Rendition, RenditionsReason, Stream, StreamCommand, StreamEvent,
        StreamRefusal, VideoTrack,
    },
};
use time::Duration;

use crate::{NOW, given, id};

fn node() -> NodeId {
    id(3)
}

fn video() -> VideoTrack {
    VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 }
}

fn audio() -> AudioTrack {
    AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }
}

fn start() -> StreamCommand {
    StreamCommand::Start {
        stream_id: id(1),
        channel_id: id(2),
        node_id: node(),
        title: "A title".to_owned(),
        video: Some(video()),
        audio: Some(audio()),
        encoder: EncoderName::from_sent("obs-output module"),
    }
}

fn started() -> StreamEvent {
    StreamEvent::Started {
        stream_id: id(1),
        channel_id: id(2),
        node_id: node(),
        title: "A title".to_owned(),
        video: Some(video()),
        audio: Some(audio()),
        encoder: EncoderName::from_sent("obs-output module"),
        started_at: NOW,
    }
}

fn end(node_id: NodeId) -> StreamCommand {
    StreamCommand::End { node_id, reason: EndReason::ConnectionLost }
}

fn ended(duration_ms: i64) -> StreamEvent {
    StreamEvent::Ended {
        stream_id: id(1),
        channel_id: id(2),
        reason: EndReason::ConnectionLost,
        ended_at: NOW + Duration::milliseconds(duration_ms),
        duration_ms,
    }
}

#[test]
fn a_stream_starts_once() {
    given::<Stream>([]).when(start()).then([started()]);
    given::<Stream>([started()]).when(start()).then_refused(StreamRefusal::AlreadyStarted);
    given::<Stream>([started(), ended(1)]).when(start()).then_refused(StreamRefusal::AlreadyStarted);
}

#[test]
fn it_ends_once_with_its_length() {
    given::<Stream>([started()]).when_at(end(node()), NOW + Duration::milliseconds(61_234)).then([ended(61_234)]);
    given::<Stream>([started(), ended(1)]).when(end(node())).then_refused(StreamRefusal::AlreadyEnded);
    given::<Stream>([]).when(end(node())).then_refused(StreamRefusal::Unknown);
}

#[test]
fn it_is_given_up_whatever_its_node_says() {
    let give_up = || StreamCommand::GiveUp { reason: EndReason::ConnectionLost };
    given::<Stream>([started()]).when_at(give_up(), NOW + Duration::milliseconds(61_234)).then([ended(61_234)]);
    given::<Stream>([started()]).when(end(id(9))).then_refused(StreamRefusal::OtherNode);
    // Its node says so later, or said so before.
    given::<Stream>([started(), ended(1)]).when(end(node())).then_refused(StreamRefusal::AlreadyEnded);
    given::<Stream>([started(), ended(1)]).when(give_up()).then_refused(StreamRefusal::AlreadyEnded);
    given::<Stream>([]).when(give_up()).then_refused(StreamRefusal::Unknown);
}

fn renditions() -> Vec<Rendition> {
    vec![Rendition { name: "480p".to_owned(), width: 854, height: 480, bitrate_kbps: 1_000 }]
}

fn change(node_id: NodeId, renditions: Vec<Rendition>, reason: RenditionsReason) -> StreamCommand {
    StreamCommand::ChangeRenditions { node_id, renditions, reason }
}

fn changed(renditions: Vec<Rendition>, reason: RenditionsReason) -> StreamEvent {
    StreamEvent::RenditionsChanged { stream_id: id(1), channel_id: id(2), renditions, reason, changed_at: NOW }
}

#[test]
fn renditions_change_while_it_runs() {
    use RenditionsReason::{Started, TooSlow};
    let first = || changed(renditions(), Started);
    given::<Stream>([started()]).when(change(node(), renditions(), Started)).then([first()]);
    given::<Stream>([started(), first()])
        .when(change(node(), Vec::new(), TooSlow))
        .then([changed(Vec::new(), TooSlow)]);
    // Said twice, it is one fact.
    given::<Stream>([started(), first()]).when(change(node(), renditions(), Started)).then([]);
    given::<Stream>([started(), first(), changed(Vec::new(), TooSlow)])
        .when(change(node(), renditions(), Started))
        .then([first()]);
}

#[test]
fn renditions_change_only_by_its_node_from_start_to_end() {
    let change = |node_id| change(node_id, renditions(), RenditionsReason::Started);
    given::<Stream>([]).when(change(node())).then_refused(StreamRefusal::Unknown);
    given::<Stream>([started(), ended(1)]).when(change(node())).then_refused(StreamRefusal::AlreadyEnded);
    given::<Stream>([started()]).when(change(id(9))).then_refused(StreamRefusal::OtherNode);
}

fn change_tracks(node_id: NodeId, video: Option<VideoTrack>) -> StreamCommand {
    StreamCommand::ChangeTracks { node_id, video, audio: Some(audio()) }
}

fn tracks_changed(video: Option<VideoTrack>) -> StreamEvent {
    StreamEvent::TracksChanged { stream_id: id(1), channel_id: id(2), video, audio: Some(audio()), changed_at: NOW }
}

#[test]
fn tracks_change_while_it_runs() {
    let larger = || Some(VideoTrack { width: 1920, height: 1080, ..video() });
    // What it began with is no news, and neither is what was said last.
    given::<Stream>([started()]).when(change_tracks(node(), Some(video()))).then([]);
    given::<Stream>([started()]).when(change_tracks(node(), larger())).then([tracks_changed(larger())]);
    given::<Stream>([started(), tracks_changed(larger())]).when(change_tracks(node(), larger())).then([]);
    given::<Stream>([started(), tracks_changed(None)])
        .when(change_tracks(node(), Some(video())))
        .then([tracks_changed(Some(video()))]);
}

#[test]
fn tracks_change_only_by_its_node_from_start_to_end() {
    let change = |node_id| change_tracks(node_id, None);
    given::<Stream>([]).when(change(node())).then_refused(StreamRefusal::Unknown);
    given::<Stream>([started(), ended(1)]).when(change(node())).then_refused(StreamRefusal::AlreadyEnded);
    given::<Stream>([started()]).when(change(id(9))).then_refused(StreamRefusal::OtherNode);
}

#[test]
fn only_its_node_ends_it() {
    given::<Stream>([started()]).when(end(id(9))).then_refused(StreamRefusal::OtherNode);
}

#[test]
fn a_clock_set_back_gives_no_negative_length() {
    given::<Stream>([started()]).when_at(end(node()), NOW - Duration::hours(1)).then([ended(0)]);
}

#[test]
fn a_live_stream_holds_its_channel() {
    let name = id::<domain::ids::ChannelId>(2).to_string();
    assert_eq!(started().claims(), [Claim::Take { kind: Claimed::LiveStream, name: name.clone() }]);
    assert_eq!(ended(1).claims(), [Claim::Release { kind: Claimed::LiveStream, name }]);
    assert_eq!(Stream::claimed(Claimed::LiveStream), StreamRefusal::ChannelLive);
}

#[test]
fn reasons_are_stored_and_sent_alike() {
    use EndReason::{ChannelClosed, ConnectionLost, Crashed, Error, KeyRotated, Shutdown, Unpublished};
    for reason in [Unpublished, ConnectionLost, Shutdown, Crashed, KeyRotated, ChannelClosed, Error] {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
}

#[test]
fn reasons_for_renditions_are_stored_and_sent_alike() {
    use RenditionsReason::{
        BudgetFreed, FfmpegFailed, FfmpegMissing, NoBudget, Recovered, SourceChanged, Started, TooSlow,
    };
    for reason in [Started, TooSlow, NoBudget, BudgetFreed, FfmpegFailed, FfmpegMissing, Recovered, SourceChanged] {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
}

#[test]
fn an_encoders_name_is_one_short_line() {
    let name = |text: &str| EncoderName::from_sent(text).map(|name| name.as_str().to_owned());
    assert_eq!(
        name("  obs-output module (libobs version 30.2.3)\0 "),
        Some("obs-output module (libobs version 30.2.3)".to_owned())
    );
    assert_eq!(name("a\r\nb\u{7}c"), Some("abc".to_owned()));
    assert_eq!(name(&"ї".repeat(500)), Some("ї".repeat(100)));
    assert_eq!(name(&format!("{} {}", "x".repeat(99), "y")), Some("x".repeat(99)));
    for text in ["", "   ", "\0\0", "\r\n"] {
        assert_eq!(name(text), None, "{text:?}");
    }
}
