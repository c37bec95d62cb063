//! Tokens by which the file of an export is fetched without signing in: a time, the session that was given it, and a keyed digest
//! of both and of the export. Who has one may fetch that file until then, and for as long as that session goes on; nobody can make
//! one without the keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::{ExportId, SessionId};
use subtle::ConstantTimeEq;
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Commands;

const TIME_LEN: usize = 8;
const ID_LEN: usize = 16;

/// Why a token is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DownloadRefusal {
    /// It was made for another export, or by nobody.
    #[error("the token does not belong to this export")]
    Invalid,
    /// Its time is over.
    #[error("the token's time is over")]
    Expired,
}

/// A token for the file of `export_id`, for whoever has `session_id` (or the personal token of that id), until `expires_at` in whole
/// seconds; 75 characters that are safe in an address.
#[must_use]
pub fn token(commands: &Commands, export_id: ExportId, session_id: SessionId, expires_at: OffsetDateTime) -> String {
    let seconds = expires_at.unix_timestamp().to_be_bytes();
    let session = session_id.uuid();
    let digest = digest(commands, export_id, session, seconds);
    URL_SAFE_NO_PAD.encode([seconds.as_slice(), session.as_bytes(), digest.as_slice()].concat())
}

/// The session that `token` for the file of `export_id` was made for, if it is good at `now`: whether that goes on is for the caller to
/// see.
///
/// # Errors
/// [`DownloadRefusal`] when it is not.
pub fn read(
    commands: &Commands,
    export_id: ExportId,
    token: &str,
    now: OffsetDateTime,
) -> Result<SessionId, DownloadRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| DownloadRefusal::Invalid)?;
    let (seconds, rest) = bytes.split_first_chunk::<TIME_LEN>().ok_or(DownloadRefusal::Invalid)?;
    let (session, signed) = rest.split_first_chunk::<ID_LEN>().ok_or(DownloadRefusal::Invalid)?;
    let session = Uuid::from_bytes(*session);
    if !bool::from(digest(commands, export_id, session, *seconds).as_slice().ct_eq(signed)) {
        return Err(DownloadRefusal::Invalid);
    }
    if i64::from_be_bytes(*seconds) <= now.unix_timestamp() {
        return Err(DownloadRefusal::Expired);
    }
    Ok(session.into())
}

fn digest(commands: &Commands, export_id: ExportId, session: Uuid, seconds: [u8; TIME_LEN]) -> [u8; 32] {
    commands.keys().digest(&[b"export download", export_id.uuid().as_bytes(), session.as_bytes(), &seconds])
}
