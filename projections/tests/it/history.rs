//! Events that could have happened.

use domain::{
    DomainEvent,
    accounts::{
        AccountEvent, ErasureCancelledReason, PasswordChangedReason, PersonalTokenEvent, PersonalTokenRevokedReason,
        PersonalTokenScope, SessionEndReason, SessionEvent, SignInEvent, SignInFailure,
    },
    channels::{ChannelClosedReason, ChannelEvent, Description, Handle, Title, Visibility},
    ids::{AccountId, ChannelId, ExportId, NodeId, PersonalTokenId, RecordingId, SecretId, SessionId, StreamId},
    streams::{AudioTrack, EncoderName, EndReason, Rendition, RenditionsReason, StreamEvent, VideoTrack},
};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{
    emails, exports, golden, invites, moderation, profiles, recordings, registrations,
    stage::{seal, seal_erased},
    teams,
};

/// When every history begins.
pub(crate) const BEGIN: OffsetDateTime = datetime!(2026-11-21 10:00:00.000_001 UTC);

pub(crate) fn new<T: From<Uuid>>() -> T {
    Uuid::now_v7().into()
}

pub(crate) fn after_seconds(seconds: i64) -> OffsetDateTime {
    BEGIN + Duration::seconds(seconds)
}

pub(crate) fn registered(account_id: AccountId, username: &str, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Account(AccountEvent::Registered {
        account_id,
        username: seal(account_id, username),
        username_digest: format!("digest of {username}"),
        email: seal(account_id, &format!("{username}@example.org")),
        password: new(),
        is_administrator: username == "root",
        setup_token_digest: None,
        registered_at: at,
    })
}

pub(crate) fn registered_and_erased(account_id: AccountId) -> DomainEvent {
    DomainEvent::Account(AccountEvent::Registered {
        account_id,
        username: seal_erased(account_id),
        username_digest: "digest".to_owned(),
        email: seal_erased(account_id),
        password: new(),
        is_administrator: false,
        setup_token_digest: None,
        registered_at: BEGIN,
    })
}

pub(crate) fn erased(account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Account(AccountEvent::Erased {
        account_id,
        username_digest: "digest".to_owned(),
        setup_token_digest: None,
        by: Some(account_id),
        erased_at: at,
    })
}

pub(crate) fn closed(channel_id: ChannelId, handle: &str, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::Closed {
        channel_id,
        handle: Handle::parse(handle).unwrap(),
        reason: ChannelClosedReason::OwnerErased,
        closed_at: at,
    })
}

pub(crate) fn created(channel_id: ChannelId, owner_id: AccountId, handle: &str, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::Created {
        channel_id,
        owner_id,
        handle: Handle::parse(handle).unwrap(),
        title: Title::parse(&format!("The channel {handle}")).unwrap(),
        description: Description::parse("Ships\nand harbours").unwrap(),
        stream_key: new(),
        created_at: at,
    })
}

pub(crate) fn details_changed(channel_id: ChannelId, title: &str, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::DetailsChanged {
        channel_id,
        title: Title::parse(title).unwrap(),
        description: Description::parse("").unwrap(),
        changed_at: at,
    })
}

pub(crate) fn visibility_changed(channel_id: ChannelId, visibility: Visibility, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::VisibilityChanged { channel_id, visibility, changed_at: at })
}

pub(crate) fn key_rotated(channel_id: ChannelId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::StreamKeyRotated { channel_id, stream_key: new::<SecretId>(), rotated_at: at })
}

pub(crate) fn video() -> VideoTrack {
    VideoTrack { codec: "avc1.64001f".to_owned(), width: 1_280, height: 720, frame_rate: 29.97 }
}

pub(crate) fn audio() -> AudioTrack {
    AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }
}

pub(crate) fn started(stream_id: StreamId, channel_id: ChannelId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Stream(StreamEvent::Started {
        stream_id,
        channel_id,
        node_id: NodeId::from(Uuid::nil()),
        title: "On the water".to_owned(),
        video: Some(video()),
        audio: Some(audio()),
        encoder: EncoderName::from_sent("obs-output module"),
        started_at: at,
    })
}

pub(crate) fn renditions() -> Vec<Rendition> {
    vec![
        Rendition { name: "480p".to_owned(), width: 854, height: 480, bitrate_kbps: 1_000 },
        Rendition { name: "360p".to_owned(), width: 640, height: 360, bitrate_kbps: 600 },
    ]
}

pub(crate) fn renditions_changed(
    stream_id: StreamId,
    channel_id: ChannelId,
    renditions: Vec<Rendition>,
    at: OffsetDateTime,
) -> DomainEvent {
    let reason = if renditions.is_empty() { RenditionsReason::TooSlow } else { RenditionsReason::Started };
    DomainEvent::Stream(StreamEvent::RenditionsChanged { stream_id, channel_id, renditions, reason, changed_at: at })
}

pub(crate) fn tracks_changed(
    stream_id: StreamId,
    channel_id: ChannelId,
    video: Option<VideoTrack>,
    at: OffsetDateTime,
) -> DomainEvent {
    DomainEvent::Stream(StreamEvent::TracksChanged {
        stream_id,
        channel_id,
        video,
        audio: Some(audio()),
        changed_at: at,
    })
}

pub(crate) fn ended(stream_id: StreamId, channel_id: ChannelId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Stream(StreamEvent::Ended {
        stream_id,
        channel_id,
        reason: EndReason::ConnectionLost,
        ended_at: at,
        duration_ms: 61_000,
    })
}

/// Numbers that look random and are the same each time (Steele, Lea and Flood's SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }
}

/// How long a history is that begins with one event of each type.
const LONG: usize = 300;

/// A life of a platform in `length` events, in which everything happens that can. One of some length begins with one event of each
/// type that there is.
pub(crate) fn history(dice: &mut Dice, length: usize) -> Vec<DomainEvent> {
    let mut accounts: Vec<AccountId> = Vec::new();
    let mut sessions: Vec<(SessionId, AccountId)> = Vec::new();
    let mut tokens: Vec<(PersonalTokenId, AccountId)> = Vec::new();
    let mut channels: Vec<(ChannelId, Option<StreamId>)> = Vec::new();
    let mut exports: Vec<(ExportId, bool)> = Vec::new();
    let (mut invites, mut registration_invites) = (Vec::new(), Vec::new());
    let (mut reports, mut kept_out) = (Vec::new(), Vec::new());
    let mut kept: Vec<(RecordingId, ChannelId, bool)> = Vec::new();
    let mut events = if length < LONG { Vec::new() } else { golden::one_of_each() };
    while events.len() < length {
        let number = events.len();
        let at = after_seconds(i64::try_from(number).unwrap());
        let event = match dice.roll(21) {
            0 | 1 => {
                accounts.push(new());
                registered(accounts[accounts.len() - 1], &format!("person_{number}"), at)
            }
            2 if !accounts.is_empty() => {
                let account_id = accounts[dice.roll(accounts.len())];
                sessions.push((new(), account_id));
                DomainEvent::Session(SessionEvent::Opened {
                    session_id: sessions[sessions.len() - 1].0,
                    account_id,
                    user_agent: seal(account_id, "Firefox"),
                    address: seal(account_id, "::1"),
                    opened_at: at,
                })
            }
            20 if !accounts.is_empty() && dice.roll(2) == 0 => {
                let account_id = accounts[dice.roll(accounts.len())];
                emails::step(dice, account_id, at)
            }
            20 if !accounts.is_empty() => {
                let account_id = accounts[dice.roll(accounts.len())];
                DomainEvent::SignIn(SignInEvent::Failed {
                    account_id,
                    failure: SignInFailure::WrongPassword,
                    count: 3,
                    user_agent: seal(account_id, "curl"),
                    address: seal(account_id, "::1"),
                    first_at: at,
                    last_at: at,
                })
            }
            3 if !sessions.is_empty() => {
                let (session_id, account_id) = sessions.swap_remove(dice.roll(sessions.len()));
                let reason = SessionEndReason::SignedOut;
                DomainEvent::Session(SessionEvent::Ended { session_id, account_id, reason, ended_at: at })
            }
            17 if !accounts.is_empty() => {
                let account_id = accounts[dice.roll(accounts.len())];
                tokens.push((new(), account_id));
                DomainEvent::PersonalToken(PersonalTokenEvent::Created {
                    token_id: tokens[tokens.len() - 1].0,
                    account_id,
                    name: seal(account_id, "A program"),
                    scopes: PersonalTokenScope::ALL[dice.roll(2)..].to_vec(),
                    expires_at: at + Duration::days(30),
                    created_at: at,
                })
            }
            19 if !accounts.is_empty() && dice.roll(2) == 0 => {
                let account_id = accounts[dice.roll(accounts.len())];
                profiles::step(dice, account_id, at)
            }
            19 if !accounts.is_empty() => {
                let account_id = accounts[dice.roll(accounts.len())];
                DomainEvent::Account(match dice.roll(7) {
                    5 => {
                        AccountEvent::ErasureRequested { account_id, due_at: at + Duration::days(14), requested_at: at }
                    }
                    6 => AccountEvent::ErasureCancelled {
                        account_id,
                        reason: ErasureCancelledReason::SignedIn,
                        cancelled_at: at,
                    },
                    0 => AccountEvent::PasswordChanged {
                        account_id,
                        password: new(),
                        reason: PasswordChangedReason::Changed,
                        ends_all_but: None,
                        changed_at: at,
                    },
                    1 => AccountEvent::SecondFactorDisabled { account_id, disabled_at: at },
                    2 => AccountEvent::RecoveryCodeUsed { account_id, left: 9, used_at: at },
                    _ => AccountEvent::SecondFactorEnabled { account_id, seed: new(), enabled_at: at },
                })
            }
            18 if !tokens.is_empty() => {
                let (token_id, account_id) = tokens.swap_remove(dice.roll(tokens.len()));
                let reason = PersonalTokenRevokedReason::Owner;
                DomainEvent::PersonalToken(PersonalTokenEvent::Revoked { token_id, account_id, reason, revoked_at: at })
            }
            4 if !accounts.is_empty() => {
                channels.push((new(), None));
                let owner = accounts[dice.roll(accounts.len())];
                created(channels[channels.len() - 1].0, owner, &format!("channel_{number}"), at)
            }
            5 | 6 if !channels.is_empty() => {
                let (channel_id, _) = channels[dice.roll(channels.len())];
                details_changed(channel_id, &format!("Title {number}"), at)
            }
            7 if !channels.is_empty() && dice.roll(2) == 0 => {
                let visibility = [Visibility::Public, Visibility::Unlisted, Visibility::Private][dice.roll(3)];
                visibility_changed(channels[dice.roll(channels.len())].0, visibility, at)
            }
            7 if !channels.is_empty() && dice.roll(2) == 0 => {
                let (channel_id, account_id) = (channels[dice.roll(channels.len())].0, accounts.first().copied());
                teams::step(dice, channel_id, account_id.unwrap_or_else(new), at)
            }
            7 if !channels.is_empty() => key_rotated(channels[dice.roll(channels.len())].0, at),
            15 | 16 if !channels.is_empty() => {
                let (channel_id, _) = channels[dice.roll(channels.len())];
                recordings::step(dice, &mut kept, channel_id, at)
            }
            12 if dice.roll(3) == 0 => registrations::step(dice, &mut registration_invites, at),
            12 if dice.roll(2) == 0 => invites::step(dice, &mut invites, at),
            12 | 13 => exports::step(dice, &mut exports, at),
            14 if !accounts.is_empty() && dice.roll(2) == 0 => {
                erased(accounts.swap_remove(dice.roll(accounts.len())), at)
            }
            14 if !channels.is_empty() => {
                let (channel_id, live) = channels.swap_remove(dice.roll(channels.len()));
                events.push(closed(channel_id, "a_channel", at));
                // What is live ends after its channel.
                let Some(stream_id) = live else { continue };
                ended(stream_id, channel_id, at)
            }
            11 if !accounts.is_empty() && dice.roll(2) == 0 => {
                let account_id = accounts[dice.roll(accounts.len())];
                moderation::step(dice, &mut reports, &mut kept_out, account_id, at)
            }
            8.. if !channels.is_empty() => {
                let index = dice.roll(channels.len());
                let (channel_id, live) = channels[index];
                if let Some(stream_id) = live.filter(|_| dice.roll(8) == 0) {
                    let picture = Some(video()).filter(|_| dice.roll(2) == 0);
                    events.push(tracks_changed(stream_id, channel_id, picture, at));
                    continue;
                }
                if let Some(stream_id) = live.filter(|_| dice.roll(3) == 0) {
                    let made = renditions().split_off(dice.roll(3));
                    events.push(renditions_changed(stream_id, channel_id, made, at));
                    continue;
                }
                channels[index].1 = if live.is_some() { None } else { Some(new()) };
                match (live, channels[index].1) {
                    (Some(stream_id), _) => ended(stream_id, channel_id, at),
                    (None, Some(stream_id)) => started(stream_id, channel_id, at),
                    (None, None) => continue,
                }
            }
            _ => continue,
        };
        events.push(event);
    }
    events
}
