//! Tokens by which a recording is watched or downloaded that not everybody may: a time and a keyed digest of what for, of
//! which recording and of the time. Who has one may do that until then; nobody can make one without the keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::RecordingId;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::Commands;

const TIME_LEN: usize = 8;
const LEN: usize = TIME_LEN + 32;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To watch it.
    Play,
    /// To have it as a file.
    Download,
}

impl Purpose {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Play => b"recording play",
            Self::Download => b"recording download",
        }
    }
}

/// A token for `recording_id` until `expires_at`, in whole seconds; 54 characters that are safe in an address. It is worth
/// nothing once the recording may be had under other `terms`.
#[must_use]
pub fn token(
    commands: &Commands,
    recording_id: RecordingId,
    purpose: Purpose,
    terms: &str,
    expires_at: OffsetDateTime,
) -> String {
    let seconds = expires_at.unix_timestamp();
    let mut token = [0; LEN];
    token[..TIME_LEN].copy_from_slice(&seconds.to_be_bytes());
    token[TIME_LEN..].copy_from_slice(&digest(commands, recording_id, purpose, terms, seconds));
    URL_SAFE_NO_PAD.encode(token)
}

/// Whether `token` is good for that at `now`.
#[must_use]
pub fn is_good(
    commands: &Commands,
    recording_id: RecordingId,
    purpose: Purpose,
    terms: &str,
    token: &str,
    now: OffsetDateTime,
) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
    let Some((time, signed)) = bytes.split_first_chunk::<TIME_LEN>() else { return false };
    let seconds = i64::from_be_bytes(*time);
    let is_ours = bool::from(digest(commands, recording_id, purpose, terms, seconds).as_slice().ct_eq(signed));
    is_ours && seconds > now.unix_timestamp()
}

fn digest(commands: &Commands, recording_id: RecordingId, purpose: Purpose, terms: &str, seconds: i64) -> [u8; 32] {
    let recording_id = recording_id.uuid();
    let parts = [purpose.word(), recording_id.as_bytes(), &seconds.to_be_bytes(), terms.as_bytes()];
    commands.keys().digest(&parts)
}
