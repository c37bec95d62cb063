//! Tokens by which the file of a personal export is fetched: a time, the session that looked at it, and a keyed digest of
//! both and of the export. Who has one may fetch that file until then, and for as long as that session goes on; nobody can
//! make one without the keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::{PersonalExportId, SessionId};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Commands, exports::downloads::DownloadRefusal};

const TIME_LEN: usize = 8;
const ID_LEN: usize = 16;
const DIGEST_LEN: usize = 32;

/// A token for the file of `export_id`, for whoever has `session_id`, until `expires_at` in whole seconds; 96 characters
/// that are safe in an address.
#[must_use]
pub fn token(
    commands: &Commands,
    export_id: PersonalExportId,
    session_id: SessionId,
    expires_at: OffsetDateTime,
) -> String {
    let seconds = expires_at.unix_timestamp().to_be_bytes();
    let session = session_id.uuid();
    let export = export_id.uuid();
    let digest = digest(commands, export, session, seconds);
    URL_SAFE_NO_PAD.encode([seconds.as_slice(), session.as_bytes(), export.as_bytes(), digest.as_slice()].concat())
}

/// Which file `token` opens at `now`, and the session that it was made for: whether that goes on is for the caller to see.
///
/// # Errors
/// [`DownloadRefusal`] when it opens none.
pub fn read(
    commands: &Commands,
    token: &str,
    now: OffsetDateTime,
) -> Result<(PersonalExportId, SessionId), DownloadRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| DownloadRefusal::Invalid)?;
    let (seconds, rest) = bytes.split_first_chunk::<TIME_LEN>().ok_or(DownloadRefusal::Invalid)?;
    let (session, rest) = rest.split_first_chunk::<ID_LEN>().ok_or(DownloadRefusal::Invalid)?;
    let (export, signed) = rest.split_first_chunk::<ID_LEN>().ok_or(DownloadRefusal::Invalid)?;
    let (session, export) = (Uuid::from_bytes(*session), Uuid::from_bytes(*export));
    if !bool::from(digest(commands, export, session, *seconds).as_slice().ct_eq(signed)) {
        return Err(DownloadRefusal::Invalid);
    }
    if i64::from_be_bytes(*seconds) <= now.unix_timestamp() {
        return Err(DownloadRefusal::Expired);
    }
    Ok((export.into(), session.into()))
}

fn digest(commands: &Commands, export: Uuid, session: Uuid, seconds: [u8; TIME_LEN]) -> [u8; DIGEST_LEN] {
    let what = b"personal export download".as_slice();
    commands.keys().digest(&[what, export.as_bytes(), session.as_bytes(), &seconds])
}
