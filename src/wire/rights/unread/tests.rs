use commands::{CommandsOptions, MasterKeys};
use domain::ids::{ChannelId, InviteId, SessionId};
use ingest::{
    RecordingUse,
    rights::{Bearer, Pass, PlaybackKeys, RecordingDecision, Rights},
};
use projections::ReadModels;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;

use super::*;

/// Events for a follower, and what it says.
struct Stage {
    pool: PgPool,
    commands: commands::Commands,
}

/// Who is to lose something.
struct People {
    channel: ChannelId,
    session: SessionId,
    program: Uuid,
    invite: InviteId,
}

impl Stage {
    async fn new() -> Self {
        let url = embedded::testing::database().await.url;
        commands::migrate(&url).await.unwrap();
        projections::migrate(&url).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        let keys = MasterKeys::new([1; 32].into(), [2; 32].into());
        let commands = commands::Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();
        Self { pool, commands }
    }

    /// As another version of Weir would; where it is.
    async fn append(&self, id: Uuid, sequence: i64, event_type: &str, version: &str, payload: Value) -> i64 {
        let mut transaction = self.pool.begin().await.unwrap();
        let position: i64 = sqlx::query_scalar("update log.head set position = position + 1 returning position")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        sqlx::query(
            "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                 metadata)
             values ($1, split_part($2, '.', 1), $3, $4, $2, $5, $6::json, '{}')",
        )
        .bind(position)
        .bind(event_type)
        .bind(id.to_string())
        .bind(sequence)
        .bind(version)
        .bind(payload.to_string())
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();
        position
    }

    fn follower(&self) -> Follower {
        let rights = Rights::new(PlaybackKeys::new([7; 32], []));
        let read = ReadModels::new(self.pool.clone());
        Follower { commands: self.commands.clone(), read, rights, unread: Unread::default() }
    }

    async fn private_channel(&self) -> ChannelId {
        let id = Uuid::now_v7();
        let payload = json!({ "VisibilityChanged": {
            "channel_id": id, "visibility": "private", "changed_at": "2026-11-21T11:45:00Z" } });
        self.append(id, 2, "channel.visibility_changed", "1", payload).await;
        id.into()
    }

    async fn people(&self) -> People {
        let channel = self.private_channel().await;
        People { channel, session: Uuid::now_v7().into(), program: Uuid::now_v7(), invite: Uuid::now_v7().into() }
    }
}

/// Whether a token of this bearer, given out at this version of the channel, shows it.
fn shows(rights: &Rights, channel_id: ChannelId, bearer: Bearer, version: i64) -> bool {
    let expires_at_s = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap() + 3_600;
    let token = rights.keys().mint(&Pass { bearer, version, expires_at_s }).unwrap();
    rights.decide(channel_id, Some(&token)).is_ok()
}

/// Which of the people, and of somebody else, may watch by what they were given at this version.
fn watching(rights: &Rights, people: &People, version: i64) -> [bool; 4] {
    let People { channel, session, program, invite } = *people;
    [
        Bearer::Session(channel, session),
        Bearer::Session(channel, program.into()),
        Bearer::Invited(channel, invite),
        Bearer::Session(channel, Uuid::now_v7().into()),
    ]
    .map(|bearer| shows(rights, channel, bearer, version))
}

/// What cannot be read: of a version to come, or of today's with another shape.
fn unreadable(event_type: &str) -> [(&'static str, Value); 2] {
    let variant = event_type.rsplit('.').next().unwrap();
    [("9", json!({ "Something": { "else": variant } })), ("1", json!({ variant: 7 }))]
}

#[tokio::test]
async fn whoever_loses_a_right_by_what_cannot_be_read_loses_it_and_the_log_goes_on() {
    for kind in [0, 1] {
        let stage = Stage::new().await;
        let people = stage.people().await;
        let (follower, mut position) = (stage.follower(), None);
        follower.advance(&mut position).await.unwrap();
        assert_eq!(watching(&follower.rights, &people, 2), [true; 4]);
        assert_eq!(follower.unread.told(), None);

        let mut first = None;
        for (id, event_type, expected) in [
            (people.session.uuid(), "session.ended", [false, true, true, true]),
            (people.program, "personal_token.revoked", [false, false, true, true]),
            (people.invite.uuid(), "invite.revoked", [false, false, false, true]),
        ] {
            let (version, payload) = unreadable(event_type)[kind].clone();
            let at = stage.append(id, 2, event_type, version, payload).await;
            first.get_or_insert(at);
            follower.advance(&mut position).await.unwrap();
            assert_eq!(position, Some(at));
            assert_eq!(watching(&follower.rights, &people, 2), expected, "{event_type}");
        }
        let told = follower.unread.told();
        assert_eq!(told, Some((3, first.unwrap(), "session.ended".to_owned())));

        // What comes after can be read, and is.
        let other = Uuid::now_v7();
        let ended = json!({ "Ended": { "session_id": other, "account_id": Uuid::now_v7(), "reason": "signed_out",
            "ended_at": "2026-11-21T11:45:00Z" } });
        stage.append(other, 2, "session.ended", "1", ended).await;
        follower.advance(&mut position).await.unwrap();
        assert!(!shows(&follower.rights, people.channel, Bearer::Session(people.channel, other.into()), 2));

        // Who starts later knows the same, whether the read models have got past it or not.
        let past = position.unwrap();
        let payload = json!({ "VisibilityChanged": {
            "channel_id": people.channel, "visibility": "private", "changed_at": "2026-11-21T11:45:00Z" } });
        stage.append(people.channel.uuid(), 3, "channel.visibility_changed", "1", payload).await;
        for of_read_models in [0, past] {
            sqlx::query(
                "insert into read.checkpoints (projection, position) values ('channels_v1', $1), ('recordings_v1', $1)
                 on conflict (projection) do update set position = excluded.position",
            )
            .bind(of_read_models)
            .execute(&stage.pool)
            .await
            .unwrap();
            let later = stage.follower();
            later.advance(&mut None).await.unwrap();
            assert_eq!(later.unread.told().map(|(count, ..)| count), Some(3));
            let ended = [people.session.uuid(), people.program, other];
            for id in ended {
                assert!(!shows(&later.rights, people.channel, Bearer::Session(people.channel, id.into()), 3), "{id}");
            }
            assert!(watching(&later.rights, &people, 3)[3] && later.rights.is_complete());
        }
    }
}

#[tokio::test]
async fn a_channel_of_which_something_cannot_be_read_shows_nothing_to_who_could_watch_before() {
    for kind in [0, 1] {
        let stage = Stage::new().await;
        let [public, closed, renewed] = [Uuid::now_v7(), Uuid::now_v7(), stage.private_channel().await.uuid()];
        let (follower, mut position) = (stage.follower(), None);
        follower.advance(&mut position).await.unwrap();
        let rights = &follower.rights;
        assert!(rights.decide(public.into(), None).is_ok() && rights.decide(closed.into(), None).is_ok());
        let somebody = Bearer::Session(renewed.into(), Uuid::now_v7().into());
        assert!(shows(rights, renewed.into(), somebody, 2));
        for (id, event_type) in
            [(public, "channel.visibility_changed"), (closed, "channel.closed"), (renewed, "channel.role_taken")]
        {
            let (version, payload) = unreadable(event_type)[kind].clone();
            stage.append(id, 3, event_type, version, payload).await;
        }
        follower.advance(&mut position).await.unwrap();
        assert!(rights.decide(public.into(), None).is_err(), "it may be private now");
        let viewer = Bearer::Session(public.into(), Uuid::now_v7().into());
        assert!(!shows(rights, public.into(), viewer, 2) && shows(rights, public.into(), viewer, 3));
        assert!(rights.of_channel(closed.into()).is_closed);
        assert!(!shows(rights, renewed.into(), somebody, 2) && shows(rights, renewed.into(), somebody, 3));

        // Once it is known again who may, it is for them.
        let payload = json!({ "VisibilityChanged": {
            "channel_id": public, "visibility": "public", "changed_at": "2026-11-21T11:45:00Z" } });
        stage.append(public, 4, "channel.visibility_changed", "1", payload).await;
        follower.advance(&mut position).await.unwrap();
        assert!(rights.decide(public.into(), None).is_ok());
    }
}

#[tokio::test]
async fn streams_and_recordings_of_which_something_cannot_be_read_are_not_shown() {
    let stage = Stage::new().await;
    let private = stage.private_channel().await;
    let [lost, found, edited, deleted, target] = std::array::from_fn(|_| Uuid::now_v7());
    let (follower, mut position) = (stage.follower(), None);
    stage.append(lost, 1, "stream.started", "9", json!({ "Started": { "of": "somebody" } })).await;
    stage.append(found, 1, "stream.started", "9", json!({ "Started": { "channel_id": private } })).await;
    for (id, event_type) in [(edited, "recording.edited"), (deleted, "recording.deleted")] {
        stage.append(id, 3, event_type, "9", json!({})).await;
    }
    let decided =
        |action: &str| json!({ "Decided": { "action": action, "target": { "kind": "stream", "id": target } } });
    stage.append(Uuid::now_v7(), 2, "report.decided", "9", decided("none")).await;
    follower.advance(&mut position).await.unwrap();
    let rights = &follower.rights;
    assert!(rights.is_withdrawn(lost), "it may be one that only some may watch");
    assert_eq!((rights.channel_of(found), rights.is_withdrawn(found)), (Some(private), false));
    for recording in [edited, deleted] {
        let terms = RecordingTerms {
            recording_id: recording.into(),
            channel_id: Uuid::now_v7().into(),
            visibility: RecordingVisibility::Published,
            is_download_allowed: true,
            is_deleted: false,
            version: 2,
        };
        let decision = rights.decide_recording(terms, RecordingUse::Play, None);
        assert_eq!(decision, RecordingDecision::Unknown, "{recording}");
    }
    assert!(!rights.is_withdrawn(target), "nothing was done");
    stage.append(Uuid::now_v7(), 2, "report.decided", "9", decided("take_down")).await;
    follower.advance(&mut position).await.unwrap();
    assert!(rights.is_withdrawn(target));
}

#[tokio::test]
async fn the_log_being_away_is_no_event_that_cannot_be_read() {
    let stage = Stage::new().await;
    let follower = stage.follower();
    stage.pool.close().await;
    assert!(follower.advance(&mut None).await.is_err());
    assert_eq!(follower.unread.told(), None);
    assert!(!follower.rights.is_complete());
}

/// Somebody with a channel and a stream that was just over, whose first event cannot be read.
struct Owner {
    account: Uuid,
    channel: Uuid,
    stream: Uuid,
}

impl Owner {
    async fn new(stage: &Stage) -> Self {
        let owner = Self { account: Uuid::now_v7(), channel: Uuid::now_v7(), stream: Uuid::now_v7() };
        let Self { account, channel, stream } = owner;
        stage.append(account, 1, "account.registered", "9", json!({})).await;
        stage.append(channel, 1, "channel.created", "9", json!({ "Created": { "owner_id": account } })).await;
        stage.append(stream, 1, "stream.prepared", "9", json!({ "Prepared": { "channel_id": channel } })).await;
        owner
    }

    async fn suspend(&self, stage: &Stage, sequence: i64, hours: Option<i64>) -> i64 {
        let reason = stage.commands.account_keys().seal(self.account.into(), "Two warnings").await.unwrap();
        let now = OffsetDateTime::now_utc();
        let suspended = AccountSuspended {
            account_id: self.account.into(),
            by: None,
            reason,
            until: hours.map(|hours| now + time::Duration::hours(hours)),
            suspended_at: now,
        };
        let payload = serde_json::to_value(AccountEvent::Suspended(suspended)).unwrap();
        stage.append(self.account, sequence, "account.suspended", "1", payload).await
    }

    async fn reinstate(&self, stage: &Stage, sequence: i64, version: &str) {
        let payload = json!({ "Reinstated": {
            "account_id": self.account, "by": null, "reinstated_at": "2026-11-21T11:45:00Z" } });
        stage.append(self.account, sequence, "account.reinstated", version, payload).await;
    }

    /// Whether their recordings are shown, and what their stream has left.
    fn shows(&self, rights: &Rights) -> [bool; 2] {
        let terms = RecordingTerms {
            recording_id: Uuid::now_v7().into(),
            channel_id: self.channel.into(),
            visibility: RecordingVisibility::Published,
            is_download_allowed: true,
            is_deleted: false,
            version: 2,
        };
        let decision = rights.decide_recording(terms, RecordingUse::Play, None);
        [decision != RecordingDecision::Unknown, !rights.is_withdrawn(self.stream)]
    }
}

#[tokio::test]
async fn a_suspension_lasts_as_long_as_it_says_though_the_account_cannot_be_read() {
    let stage = Stage::new().await;
    let [over, open, lifted, doubtful] =
        [Owner::new(&stage).await, Owner::new(&stage).await, Owner::new(&stage).await, Owner::new(&stage).await];
    let (early, mut position) = (stage.follower(), None);
    early.advance(&mut position).await.unwrap();
    over.suspend(&stage, 2, Some(-1)).await;
    let first = open.suspend(&stage, 2, Some(1)).await;
    lifted.suspend(&stage, 2, None).await;
    lifted.reinstate(&stage, 3, "1").await;
    doubtful.suspend(&stage, 2, None).await;
    doubtful.reinstate(&stage, 3, "9").await;
    early.advance(&mut position).await.unwrap();
    for projection in ["channels_v1", "recordings_v1"] {
        sqlx::query("insert into read.checkpoints (projection, position) values ($1, $2)")
            .bind(projection)
            .bind(position)
            .execute(&stage.pool)
            .await
            .unwrap();
    }
    // Who starts later has it from the last event of each.
    let late = stage.follower();
    late.advance(&mut None).await.unwrap();
    for (which, follower) in [("early", &early), ("late", &late)] {
        let rights = &follower.rights;
        assert_eq!(over.shows(rights), [true, true]);
        assert_eq!(open.shows(rights), [false, false], "{which}");
        assert!(lifted.shows(rights)[0], "{which}");
        assert_eq!(doubtful.shows(rights), [false, false], "{which}");
        let (_, position, event_type) = follower.unread.told().unwrap();
        assert_eq!((position, event_type.as_str()), (first, "account.suspended"));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_once_in_whatever_order_it_is_met() {
    let stage = Stage::new().await;
    let follower = stage.follower();
    let [early, late] = [
        stage.append(Uuid::now_v7(), 2, "session.ended", "9", json!({})).await,
        stage.append(Uuid::now_v7(), 2, "invite.revoked", "9", json!({})).await,
    ];
    let found = commands::events::page(&stage.pool, &commands::events::Filter::default(), 2).await.unwrap();
    for stored in [&found[1], &found[0], &found[1]] {
        follower.take(stored).await.unwrap();
    }
    assert!(early < late);
    assert_eq!(follower.unread.told(), Some((2, early, "session.ended".to_owned())));
}

#[tokio::test]
async fn a_recording_of_no_channel_is_learnt_as_deleted() {
    let stage = Stage::new().await;
    let follower = stage.follower();
    let (recording, channel) = (Uuid::now_v7(), Uuid::now_v7());
    let terms = |version, visibility| RecordingTerms {
        recording_id: recording.into(),
        channel_id: channel.into(),
        visibility,
        is_download_allowed: true,
        is_deleted: false,
        version,
    };
    follower.rights.learn(Change::Recording(terms(2, RecordingVisibility::Unlisted)));
    stage.append(recording, 3, "recording.edited", "9", json!({})).await;
    follower.advance(&mut None).await.unwrap();
    let known = terms(2, RecordingVisibility::Unlisted);
    let token = follower.rights.keys().mint(&Pass {
        bearer: Bearer::Recording {
            recording_id: recording.into(),
            session_id: None,
            wanted: RecordingUse::Play,
            terms: RecordingTerms::digest(RecordingVisibility::Archived, false, Visibility::Public, RecordingUse::Play),
        },
        version: 0,
        expires_at_s: u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap() + 3_600,
    });
    let decision = follower.rights.decide_recording(known, RecordingUse::Play, token.as_deref());
    assert_eq!(decision, RecordingDecision::Unknown);
}
