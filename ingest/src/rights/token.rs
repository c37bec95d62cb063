//! The token that stands in the address of a stream or a recording which not everybody may watch: who may watch which until
//! when, and an HMAC-SHA256 over it. Whoever has the playback key can check one; nobody else can make one.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version of this form: 1 |
//! | 1 | what the bearer is: 0 anybody who knows the address, 1 a session, 2 an edge, 3 who has an invite; 6 to watch a recording, 7 to download it |
//! | 16 | the channel, or the recording; zeros for an edge |
//! | 16 | the session, or the invite; zeros where there is none |
//! | 2 | a digest of the terms of a recording, big-endian; zeros for all else |
//! | 6 | the channel's version when the right was looked at, big-endian |
//! | 8 | when it expires, in seconds since 1970, big-endian |
//! | 32 | the MAC over all that |
//!
//! Written in base64url without padding (RFC 4648 section 5): 110 letters, which neither paths nor shells mind. 4 and 5 were tokens
//! of recordings that knew nothing of the channel's version; they are worth nothing.

use std::{fmt, time::SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::{ChannelId, InviteId, RecordingId, SessionId};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::ports::RecordingUse;

/// How long a token is good at most, in seconds: what was taken away must be remembered for as long.
pub const LONGEST_S: u64 = 12 * 60 * 60;

/// The greatest version that has room.
const LAST_VERSION: i64 = (1 << 48) - 1;
const PAYLOAD: usize = 50;
const TOKEN: usize = PAYLOAD + 32;

/// The keys of tokens: the first makes and checks them, the others only check, while a rotation is under way.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PlaybackKeys {
    keys: Vec<[u8; 32]>,
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Who bears it.
    pub bearer: Bearer,
    /// How many events the channel had had when the right was looked at, from 0 to 2^48 - 1; 0 for an edge, and for a recording
    /// that is to be had without a role in its channel.
    pub version: i64,
    /// In seconds since 1970.
    pub expires_at_s: u64,
}

/// Who bears a token, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bearer {
    /// Whoever knows the address of this channel.
    Anybody(ChannelId),
    /// Somebody who is signed in, to watch this channel.
    Session(ChannelId, SessionId),
    /// A relay of ours, which has all streams and checks the rights of its viewers itself.
    Edge,
    /// Whoever has a link that was given out for this channel.
    Invited(ChannelId, InviteId),
    /// Somebody who was given the address of one recording.
    Recording {
        /// Which.
        recording_id: RecordingId,
        /// Whose session it ends with; `None` for whoever knows the address.
        session_id: Option<SessionId>,
        /// What it may be had for.
        wanted: RecordingUse,
        /// Under which terms: [`RecordingTerms::digest`](super::RecordingTerms::digest).
        terms: u16,
    },
}

impl PlaybackKeys {
    /// `current` makes tokens; those that `former` made are good until they expire.
    #[must_use]
    pub fn new(current: [u8; 32], former: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self { keys: std::iter::once(current).chain(former).collect() }
    }

    /// The token that says `pass`; `None` without a key.
    #[must_use]
    pub fn mint(&self, pass: &Pass) -> Option<String> {
        let payload = pass.payload();
        let mac = mac(self.keys.first()?, &payload).finalize().into_bytes();
        let mut token = [0; TOKEN];
        token[..PAYLOAD].copy_from_slice(&payload);
        token[PAYLOAD..].copy_from_slice(&mac);
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// What a token says, if one of the keys made it. Whether it has expired is for the caller to see.
    #[must_use]
    pub fn check(&self, token: &str) -> Option<Pass> {
        let mut bytes = [0; TOKEN];
        // Its letters are counted first: what is longer is not decoded at all.
        if token.len() != TOKEN.div_ceil(3) * 4 - 2 || URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()? != TOKEN {
            return None;
        }
        let (payload, sum) = bytes.split_at(PAYLOAD);
        let is_ours = self.keys.iter().any(|key| mac(key, payload).verify_slice(sum).is_ok());
        if is_ours { Pass::read(payload) } else { None }
    }
}

fn mac(key: &[u8; 32], payload: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(payload);
    mac
}

impl Pass {
    fn payload(&self) -> [u8; PAYLOAD] {
        let nil = Uuid::nil();
        let (kind, channel, session) = match self.bearer {
            Bearer::Anybody(channel_id) => (0, channel_id.uuid(), nil),
            Bearer::Session(channel_id, session_id) => (1, channel_id.uuid(), session_id.uuid()),
            Bearer::Edge => (2, nil, nil),
            Bearer::Invited(channel_id, invite_id) => (3, channel_id.uuid(), invite_id.uuid()),
            Bearer::Recording { recording_id, session_id, wanted, .. } => {
                let kind = match wanted {
                    RecordingUse::Play => 6,
                    RecordingUse::Download => 7,
                };
                (kind, recording_id.uuid(), session_id.map_or(nil, SessionId::uuid))
            }
        };
        let mut payload = [0; PAYLOAD];
        payload[0] = 1;
        payload[1] = kind;
        payload[2..18].copy_from_slice(channel.as_bytes());
        payload[18..34].copy_from_slice(session.as_bytes());
        payload[34..42].copy_from_slice(&self.version.clamp(0, LAST_VERSION).to_be_bytes());
        if let Bearer::Recording { terms, .. } = self.bearer {
            payload[34..36].copy_from_slice(&terms.to_be_bytes());
        }
        payload[42..].copy_from_slice(&self.expires_at_s.to_be_bytes());
        payload
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let ([version, kind], rest) = payload.split_first_chunk()?;
        let (channel, rest) = rest.split_first_chunk::<16>()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (terms, _) = rest.split_first_chunk::<2>()?;
        let (channel_version, rest) = rest.split_first_chunk::<8>()?;
        let terms = u16::from_be_bytes(*terms);
        let channel_id = ChannelId::from(Uuid::from_bytes(*channel));
        let session = Uuid::from_bytes(*session);
        let recording = |wanted| Bearer::Recording {
            recording_id: channel_id.uuid().into(),
            session_id: (!session.is_nil()).then(|| session.into()),
            wanted,
            terms,
        };
        let bearer = match (version, kind) {
            (1, 0) => Bearer::Anybody(channel_id),
            (1, 1) => Bearer::Session(channel_id, session.into()),
            (1, 2) => Bearer::Edge,
            (1, 3) => Bearer::Invited(channel_id, session.into()),
            (1, 6) => recording(RecordingUse::Play),
            (1, 7) => recording(RecordingUse::Download),
            _ => return None,
        };
        Some(Self {
            bearer,
            version: i64::from_be_bytes(*channel_version) & LAST_VERSION,
            expires_at_s: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// Now, as tokens count.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl fmt::Debug for PlaybackKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PlaybackKeys({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(bearer: Bearer) -> Pass {
        Pass { bearer, version: 7, expires_at_s: 1_800_000_000 }
    }

    #[test]
    fn what_is_minted_is_read_and_nothing_else() {
        let keys = PlaybackKeys::new([1; 32], []);
        let (channel, session) = (ChannelId::from(Uuid::from_u128(3)), SessionId::from(Uuid::from_u128(4)));
        let recording = |session_id, wanted| Bearer::Recording {
            recording_id: channel.uuid().into(),
            session_id,
            wanted,
            terms: 0xA5C3,
        };
        for bearer in [
            Bearer::Anybody(channel),
            Bearer::Session(channel, session),
            Bearer::Edge,
            Bearer::Invited(channel, Uuid::from_u128(5).into()),
            recording(Some(session), RecordingUse::Play),
            recording(None, RecordingUse::Download),
        ] {
            let token = keys.mint(&pass(bearer)).unwrap();
            assert_eq!(token.len(), 110);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{token}");
            assert_eq!(keys.check(&token), Some(pass(bearer)));
            for at in 0..token.len() {
                let mut changed = token.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(keys.check(&changed), None, "letter {at}");
            }
            for other in [&token[1..], &format!("{token}A"), &format!("{token}=="), "", "é"] {
                assert_eq!(keys.check(other), None, "{other}");
            }
        }
    }

    #[test]
    fn a_version_has_room_and_is_never_taken_for_a_later_one() {
        let keys = PlaybackKeys::new([1; 32], []);
        let bearer = Bearer::Recording {
            recording_id: Uuid::from_u128(3).into(),
            session_id: None,
            wanted: RecordingUse::Play,
            terms: u16::MAX,
        };
        for (version, read) in [(0, 0), (LAST_VERSION, LAST_VERSION), (i64::MAX, LAST_VERSION), (-1, 0)] {
            for bearer in [bearer, Bearer::Edge] {
                let token = keys.mint(&Pass { version, ..pass(bearer) }).unwrap();
                assert_eq!(keys.check(&token), Some(Pass { version: read, ..pass(bearer) }), "{version}");
            }
        }
    }

    #[test]
    fn tokens_of_recordings_of_a_former_form_are_none() {
        let keys = PlaybackKeys::new([1; 32], []);
        let mut payload = pass(Bearer::Anybody(Uuid::from_u128(3).into())).payload();
        for kind in [4, 5, 8] {
            payload[1] = kind;
            let mut token = payload.to_vec();
            token.extend_from_slice(&mac(&[1; 32], &payload).finalize().into_bytes());
            assert_eq!(keys.check(&URL_SAFE_NO_PAD.encode(token)), None, "{kind}");
        }
    }

    #[test]
    fn a_former_key_checks_and_makes_none() {
        let (old, new) = (PlaybackKeys::new([1; 32], []), PlaybackKeys::new([2; 32], [[1; 32]]));
        let token = old.mint(&pass(Bearer::Edge)).unwrap();
        assert_eq!(new.check(&token), Some(pass(Bearer::Edge)));
        assert_eq!(old.check(&new.mint(&pass(Bearer::Edge)).unwrap()), None);
        assert_eq!(PlaybackKeys::default().mint(&pass(Bearer::Edge)), None);
        assert_eq!(PlaybackKeys::default().check(&token), None);
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", PlaybackKeys::new([1; 32], [[2; 32]])), "PlaybackKeys(2 keys)");
    }
}
