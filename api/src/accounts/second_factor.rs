//! The second factor: set up with an authenticator, taken off, recovery codes.

use std::{fmt::Write, sync::Arc};

use axum::{
    Json as JsonBody,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    CommandError,
    accounts::second_factor::{self, CodesNotMade, SecondFactorRefusal},
};
use openapi::{
    Problem,
    accounts::{EnableSecondFactorRequest, PreparedSecondFactor, ReauthenticationRequest, RecoveryCodes},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use qrcode::{EcLevel, QrCode, render::svg};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{SHOWN_FROM, own_account, reauthentication};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Json,
    server::Server,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(prepare_second_factor, enable_second_factor, disable_second_factor))
        .routes(routes!(replace_recovery_codes))
}

/// Prepare a second factor
///
/// Makes what goes into an authenticator, as text and as a QR code. Nothing changes until a code of it comes back, within an
/// hour.
#[utoipa::path(
    post, path = "/api/v1/auth/second-factor", operation_id = "prepare_second_factor", tag = "accounts",
    security(("access_token" = [])),
    request_body = ReauthenticationRequest,
    responses(
        (status = 200, description = "What goes into an authenticator.", body = PreparedSecondFactor),
        (status = 403, description = "`password_wrong`: the password is wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`second_factor_there`: there is one already; take it off first.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn prepare_second_factor(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<Response> {
    reauthentication::password(&server, &authenticated, request.password).await?;
    let prepared = second_factor::prepare(&server.commands, authenticated.account_id).await.map_err(failed)?;
    let account = own_account(&server, authenticated.account_id).await?;
    let secret = base32(&prepared.seed);
    // Authenticators show both, so that people with several accounts know which is which.
    let issuer = server.addresses.public_url().split_once("://").map_or("Weir", |(_, host)| host);
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (label, issuer) = (encode(&account.username), encode(issuer));
    let uri = format!("otpauth://totp/{issuer}:{label}?secret={secret}&issuer={issuer}");
    let code =
        QrCode::with_error_correction_level(&uri, EcLevel::M).map_err(|error| ApiError::internal(error.to_string()))?;
    // White around and behind: scanners want dark on light, whatever the page's theme.
    let qr_svg = code.render::<svg::Color<'_>>().min_dimensions(240, 240).quiet_zone(true).build();
    let body = PreparedSecondFactor { id: prepared.seed_id.uuid(), secret, uri, qr_svg };
    Ok(([(header::CACHE_CONTROL, "no-store")], JsonBody(body)).into_response())
}

/// Enable the second factor
///
/// With a code that the authenticator shows. Signing in, and what changes how one signs in, takes a code from then on. The
/// recovery codes in the answer are shown this once.
#[utoipa::path(
    put, path = "/api/v1/auth/second-factor", operation_id = "enable_second_factor", tag = "accounts",
    security(("access_token" = [])),
    request_body = EnableSecondFactorRequest,
    responses(
        (status = 200, description = "Enabled; the recovery codes.", body = RecoveryCodes),
        (status = 403, description = "`code_wrong`: the code is wrong or was used; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`second_factor_there`: there is one already; `second_factor_unknown`: it was not prepared, or too long ago.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn enable_second_factor(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<EnableSecondFactorRequest>,
) -> ApiResult<Response> {
    let (account_id, metadata) = (authenticated.account_id, authenticated.metadata());
    let enabled = second_factor::enable(&server.commands, account_id, request.id.into(), &request.code, metadata);
    let (codes, position) = enabled.await.map_err(not_enabled)?;
    server.has_read(SHOWN_FROM, position).await;
    Ok(recovery_codes(&codes))
}

/// Take the second factor off
///
/// Signing in takes the password alone again.
#[utoipa::path(
    delete, path = "/api/v1/auth/second-factor", operation_id = "disable_second_factor", tag = "accounts",
    security(("access_token" = [])),
    request_body = ReauthenticationRequest,
    responses(
        (status = 204, description = "There is none any more."),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn disable_second_factor(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<StatusCode> {
    reauthentication::check(&server, &authenticated, request.password, request.code.as_deref()).await?;
    let metadata = authenticated.metadata();
    let disabled = second_factor::disable(&server.commands, authenticated.account_id, metadata).await;
    server.has_read(SHOWN_FROM, disabled.map_err(failed)?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Replace my recovery codes
///
/// Those of before are worth nothing any more; the new ones are shown this once.
#[utoipa::path(
    put, path = "/api/v1/auth/second-factor/recovery-codes", operation_id = "replace_recovery_codes", tag = "accounts",
    security(("access_token" = [])),
    request_body = ReauthenticationRequest,
    responses(
        (status = 200, description = "The new codes.", body = RecoveryCodes),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`second_factor_missing`: there is no second factor.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn replace_recovery_codes(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<Response> {
    reauthentication::check(&server, &authenticated, request.password, request.code.as_deref()).await?;
    let metadata = authenticated.metadata();
    let replaced = second_factor::replace_recovery_codes(&server.commands, authenticated.account_id, metadata).await;
    Ok(recovery_codes(&replaced.map_err(not_replaced)?))
}

/// As [`failed`], where the event may be in the log without codes.
fn not_enabled(error: CommandError<SecondFactorRefusal>) -> ApiError {
    let is_on = matches!(&error, CommandError::OutcomeUnknown(source) if source.is::<CodesNotMade>());
    let error = failed(error);
    if is_on {
        return error.detail("The second factor is on, but its recovery codes could not be made. Ask for new ones.");
    }
    error
}

/// As [`failed`], where the codes of before have gone first.
fn not_replaced(error: CommandError<SecondFactorRefusal>) -> ApiError {
    let are_gone = matches!(error, CommandError::OutcomeUnknown(_) | CommandError::Conflict);
    let error = failed(error);
    if are_gone {
        return error.detail("The old codes are worth nothing any more; ask for new ones again.");
    }
    error
}

/// A failure of what is done to a second factor by somebody who is signed in.
pub(super) fn failed(error: CommandError<SecondFactorRefusal>) -> ApiError {
    ApiError::command(error, |refusal| {
        let conflict = |code, title| ApiError::new(StatusCode::CONFLICT, code, title);
        match refusal {
            SecondFactorRefusal::CodeMissing => {
                ApiError::new(StatusCode::FORBIDDEN, "second_factor_required", "A code is needed")
                    .detail("Give a code of the authenticator, or a recovery code, as `code`.")
            }
            SecondFactorRefusal::CodeWrong => ApiError::new(StatusCode::FORBIDDEN, "code_wrong", "The code is wrong")
                .detail("The code is wrong, too old, or was used before. Wait for the next one and try again."),
            SecondFactorRefusal::TooManyAttempts => too_many_codes(),
            SecondFactorRefusal::AlreadyThere => conflict("second_factor_there", "There is a second factor already")
                .detail("Take the second factor off before setting up another."),
            SecondFactorRefusal::NotThere => {
                conflict("second_factor_missing", "There is no second factor").detail("Set up a second factor first.")
            }
            SecondFactorRefusal::SeedUnknown => conflict("second_factor_unknown", "This was not prepared")
                .detail("It was prepared too long ago, or never. Begin again."),
        }
    })
}

/// 429: no more codes for a while.
pub(super) fn too_many_codes() -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_codes", "Too many codes were wrong")
        .detail("Too many codes were wrong. Wait a quarter of an hour and try again.")
        .header(header::RETRY_AFTER, axum::http::HeaderValue::from_static("900"))
}

fn recovery_codes(codes: &[zeroize::Zeroizing<String>]) -> Response {
    let body = RecoveryCodes { codes: codes.iter().map(|code| code.to_string()).collect() };
    ([(header::CACHE_CONTROL, "no-store")], JsonBody(body)).into_response()
}

/// RFC 4648, section 6, without padding: what authenticators take.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            // A text takes what is written to it.
            let _ = text.write_char(char::from(ALPHABET[(bits >> count & 31) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - count) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base32_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (plain, encoded) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(super::base32(plain.as_bytes()), encoded);
        }
    }
}
