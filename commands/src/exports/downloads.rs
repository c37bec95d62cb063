//! Tokens by which the file of an export is fetched without signing in: a time and a keyed digest of export and time. Who
//! has one may fetch that file until then; nobody can make one without the keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::ExportId;
use subtle::ConstantTimeEq;
use thiserror::Error;
use time::OffsetDateTime;

use crate::Commands;

const TIME_LEN: usize = 8;
const LEN: usize = TIME_LEN + 32;

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

/// A token for the file of `export_id` until `expires_at`, in whole seconds; 54 characters that are safe in an address.
#[must_use]
pub fn token(commands: &Commands, export_id: ExportId, expires_at: OffsetDateTime) -> String {
    let seconds = expires_at.unix_timestamp();
    let mut token = [0; LEN];
    token[..TIME_LEN].copy_from_slice(&seconds.to_be_bytes());
    token[TIME_LEN..].copy_from_slice(&digest(commands, export_id, seconds));
    URL_SAFE_NO_PAD.encode(token)
}

/// Whether `token` is good for the file of `export_id` at `now`.
///
/// # Errors
/// [`DownloadRefusal`] when it is not.
pub fn check(
    commands: &Commands,
    export_id: ExportId,
    token: &str,
    now: OffsetDateTime,
) -> Result<(), DownloadRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| DownloadRefusal::Invalid)?;
    let (time, signed) = bytes.split_first_chunk::<TIME_LEN>().ok_or(DownloadRefusal::Invalid)?;
    let seconds = i64::from_be_bytes(*time);
    if !bool::from(digest(commands, export_id, seconds).as_slice().ct_eq(signed)) {
        return Err(DownloadRefusal::Invalid);
    }
    if seconds <= now.unix_timestamp() { Err(DownloadRefusal::Expired) } else { Ok(()) }
}

fn digest(commands: &Commands, export_id: ExportId, seconds: i64) -> [u8; 32] {
    commands.keys().digest(&[b"export download", export_id.uuid().as_bytes(), &seconds.to_be_bytes()])
}
