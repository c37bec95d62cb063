//! A person's picture: taken, made small, stored, and served by whichever node is asked.
//!
//! Its files are stored before the event that names them, under a name that nobody had before; the process that follows the log
//! deletes those of the picture before. So what is named is there, and what a crash leaves unnamed is swept
//! (`processes::avatars`).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use commands::{CommandError, accounts::profile as profiles};
use domain::{accounts::AvatarName, ids::AccountId};
use openapi::{
    Problem,
    accounts::{PictureFile, Profile},
    operation::Accepted,
};
use sha2::{Digest, Sha256};
use storage::Key;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{changed, refused};
use crate::{
    authentication::Authenticated,
    conditional,
    error::{ApiError, ApiResult},
    extract::Path,
    limits::{Policy, Quota},
    pictures,
    server::Server,
};

/// The sides of the squares that are made, in pixels: for a line of text, and for the head of a page, each on a fine screen.
pub(super) const SIDES: [u32; 2] = [64, 256];

/// Where pictures are served.
pub(crate) const PATH: &str = "/media/avatars/{account_id}/{file}";

/// What is behind an address never changes. For a day, since it may be taken away.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=86400, immutable");

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(replace_my_avatar, remove_my_avatar))
}

/// Replace my picture
///
/// The body is the file: JPEG, PNG or WebP, 8 MB and 25 million pixels at most. It is turned as its metadata says, its middle
/// is made a square of 64 and of 256 pixels, and nothing else of it is kept. Everybody sees it; the one before is deleted.
#[utoipa::path(
    put, path = "/api/v1/me/avatar", operation_id = "replace_my_avatar", tag = "accounts",
    request_body(content((PictureFile = "image/jpeg"), (PictureFile = "image/png"), (PictureFile = "image/webp"))),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The profile as it is now.", body = Profile),
        (status = 202, description = "Changed, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the profile is."))),
        (status = 400, description = "`body_broken`: the body broke off.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: it is being changed at this moment.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`picture_too_large`: the file has more than 8 MB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`picture_kind_unsupported`: it is no JPEG, PNG or WebP.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`picture_dimensions`: it has too many pixels; `picture_damaged`: it cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn replace_my_avatar(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    request: Request,
) -> ApiResult<Response> {
    let account_id = authenticated.account_id;
    if let Some(limits) = &server.access.rate_limits {
        limits.take(Policy::Upload, &account_id.to_string()).map_err(Quota::refusal)?;
    }
    let received = pictures::receive(request).await?;
    let squares = pictures::squares(received, &SIDES).await?;
    let avatar = name(&squares);
    let files: Vec<(Key, Bytes)> = SIDES.iter().map(|side| key(account_id, &avatar, *side)).zip(squares).collect();
    // At once where other nodes find them.
    let storage = server.storage.direct();
    for (key, bytes) in &files {
        if let Err(error) = storage.put(key, bytes.clone()).await {
            forget(&server, &files).await;
            return Err(ApiError::unavailable(error));
        }
    }
    let metadata = authenticated.metadata();
    match profiles::change_avatar(&server.commands, account_id, avatar, metadata).await {
        Ok(position) => Ok(changed(&server, account_id, position).await),
        Err(error) => {
            // Where it may be named, it stays; the sweep knows better.
            if !matches!(error, CommandError::OutcomeUnknown(_)) {
                forget(&server, &files).await;
            }
            Err(refused(error))
        }
    }
}

/// Remove my picture
///
/// It is not shown any more at once, and its files are deleted soon after. Again is fine.
#[utoipa::path(
    delete, path = "/api/v1/me/avatar", operation_id = "remove_my_avatar", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The profile as it is now.", body = Profile),
        (status = 202, description = "Removed, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the profile is."))),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: it is being changed at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn remove_my_avatar(State(server): State<Arc<Server>>, authenticated: Authenticated) -> ApiResult<Response> {
    let account_id = authenticated.account_id;
    let removed = profiles::remove_avatar(&server.commands, account_id, authenticated.metadata()).await;
    Ok(changed(&server, account_id, removed.map_err(refused)?).await)
}

/// A picture's file. Whoever has its address may have it: it stands on a public page.
pub(crate) async fn serve(
    State(server): State<Arc<Server>>,
    Path((account_id, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let unknown = || ApiError::not_found("There is no such picture, or not any more.");
    let account_id: AccountId = account_id.parse().map_err(|_| unknown())?;
    let (avatar, side) = named(&file).ok_or_else(unknown)?;
    let found = server.storage.get(&key(account_id, &avatar, side)).await.map_err(ApiError::unavailable)?;
    let picture = found.ok_or_else(unknown)?;
    let tag = HeaderValue::try_from(format!("\"{}-{side}\"", avatar.as_str())).map_err(ApiError::internal)?;
    let mut response = conditional::bytes(&headers, "image/jpeg", picture.bytes, tag);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    if response.status() == StatusCode::OK {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    }
    Ok(response)
}

/// A name of its own for each upload: the same picture again has another, so that deleting the one before never takes it along.
fn name(squares: &[Bytes]) -> AvatarName {
    let mut digest = Sha256::new_with_prefix(Uuid::new_v4().as_bytes());
    squares.iter().for_each(|square| digest.update(square));
    AvatarName::from_stored(&hex::encode(&digest.finalize()[..20])).expect("20 bytes are 40 digits")
}

fn file(avatar: &AvatarName, side: u32) -> String {
    format!("{}-{side}.jpg", avatar.as_str())
}

/// What [`file`] made: the name and the side.
fn named(file: &str) -> Option<(AvatarName, u32)> {
    let (name, side) = file.strip_suffix(".jpg")?.split_once('-')?;
    let side = SIDES.into_iter().find(|known| known.to_string() == side)?;
    Some((AvatarName::from_stored(name)?, side))
}

/// Where a picture is served.
pub(super) fn path(account_id: AccountId, avatar: &AvatarName, side: u32) -> String {
    format!("/media/avatars/{account_id}/{}", file(avatar, side))
}

fn key(account_id: AccountId, avatar: &AvatarName, side: u32) -> Key {
    Key::new(format!("avatars/{account_id}/{}", file(avatar, side))).expect("letters, digits and hyphens make a key")
}

/// Deletes files that no event came to name; where that fails, the sweep does it.
async fn forget(server: &Server, files: &[(Key, Bytes)]) {
    for (key, _) in files {
        if let Err(error) = server.storage.delete(key).await {
            tracing::debug!(error = &error as &dyn std::error::Error, %key, "a picture that is not used stays for now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_picture_twice_has_two_names() {
        let squares = [Bytes::from_static(b"small"), Bytes::from_static(b"large")];
        assert_ne!(name(&squares), name(&squares));
    }

    #[test]
    fn only_files_that_can_be_there_are_looked_for() {
        let avatar = name(&[]);
        assert_eq!(named(&file(&avatar, 64)), Some((avatar.clone(), 64)));
        let name = avatar.as_str();
        for wrong in ["", ".jpg", "-64.jpg", name, &format!("{name}-65.jpg"), &format!("{name}-064.jpg")] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
        for wrong in [format!("{name}-64.png"), format!("../{name}-64.jpg"), format!("{}-64.jpg", name.to_uppercase())]
        {
            assert!(named(&wrong).is_none() || wrong == file(&avatar, 64), "{wrong}");
        }
    }
}
