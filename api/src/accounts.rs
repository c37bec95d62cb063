//! Accounts: registering, signing in and out, who am I.

mod administrators;
mod client;
mod device;
mod email;
pub(crate) mod failed_sign_ins;
mod password_reset;
mod passwords;
mod personal_tokens;
mod privacy;
mod profile;
mod reauthentication;
mod refresh_cookie;
mod second_factor;
mod security_events;
mod session_watch;
mod sessions;
mod sign_in;
mod suspension;

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    Actor, CommandError,
    accounts::{self, AccountsError, CredentialsWrong, Erase, Register, due_erasures, sessions as signed},
    registrations,
};
use domain::{
    accounts::{AccountRefusal, ErasureCancelledReason, SessionRefusal},
    ids::AccountId,
};
use openapi::{
    Problem,
    accounts::{Account, EraseAccountRequest, LoginRequest, RegisterRequest, SignedIn, privacy::ErasureScheduled},
    operation::Accepted,
};
use projections::{
    Projection,
    accounts::{AccountRow, AccountsV1},
};
use time::OffsetDateTime;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::profile::{AVATAR_PATH, avatar_of, serve_avatar};
pub(crate) use self::reauthentication::need_proof;
pub(crate) use self::suspension::{need_administrator, not_suspended};
use self::{client::Client, refresh_cookie::RefreshCookie};
use crate::{
    access_token,
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Json,
    frame::RequestContext,
    limits::SignInAttempt,
    operation::accepted,
    server::Server,
};

/// What an account is shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&AccountsV1];

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh_session))
        .routes(routes!(logout))
        .routes(routes!(get_me, erase_me))
        .merge(sessions::routes())
        .merge(suspension::routes())
        .merge(administrators::routes())
        .merge(session_watch::routes())
        .merge(personal_tokens::routes())
        .merge(profile::routes())
        .merge(passwords::routes())
        .merge(password_reset::routes())
        .merge(email::routes())
        .merge(second_factor::routes())
        .merge(reauthentication::routes())
        .merge(security_events::routes())
        .merge(privacy::routes())
}

const ME: &str = "/api/v1/auth/me";

/// Register
///
/// Makes an account and signs it in, where registration is open (`get_registration`) or by an invite. With the set-up token that
/// `weir up` printed the account is the administrator, and may always be made. The session of a refresh cookie that comes with it
/// ends.
#[utoipa::path(
    post, path = "/api/v1/auth/register", operation_id = "register", tag = "accounts",
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "Registered and signed in; the refresh cookie is set.", body = SignedIn,
            headers(("Set-Cookie" = String, description = "The refresh cookie."), ("Location" = String, description = "Where the account is."))),
        (status = 202, description = "Registered and the refresh cookie set, but the account cannot be read yet: refresh the session in a moment.", body = Accepted,
            headers(("Set-Cookie" = String, description = "The refresh cookie."), ("Location" = String, description = "Where the account will be."))),
        (status = 403, description = "`setup_token_invalid`: the set-up token is wrong or used up; `registration_closed`: nobody may register; `registration_invite_needed`: it takes an invite; `registration_invite_invalid`: the invite was used up or taken back, is over, or is none.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`username_taken`: somebody else has this username.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn register(
    State(server): State<Arc<Server>>,
    context: RequestContext,
    client: Client,
    headers: HeaderMap,
    Json(request): Json<RegisterRequest>,
) -> ApiResult<Response> {
    let RegisterRequest { username, email, password, setup_token, invite, language } = request;
    let metadata = context.metadata(Actor::System);
    let register = Register { username, email, password: password.into(), setup_token, metadata };
    let registered = registrations::register(&server.commands, register, invite.as_deref()).await;
    let registered = registered.map_err(|error| crate::registrations::not_registered(error, not_registered))?;
    context.signed_in(registered.account_id);
    self::email::begin(&server, &context, registered.account_id, language, &headers).await;
    // The account is there from here on: whatever fails now must not say that nothing was changed.
    end_former(&server, &headers).await.map_err(ApiError::half_done)?;
    let session = open_session(&server, registered.account_id, &client).await.map_err(ApiError::half_done)?;
    let cookie = RefreshCookie::new(&server.addresses).set(&session.refresh_token);
    if server.has_read(SHOWN_FROM, registered.position).await
        && let Ok(signed_in) = signed_in(&server, &session).await
    {
        let location = [(header::LOCATION, HeaderValue::from_static(ME))];
        return Ok((StatusCode::CREATED, cookie, location, JsonBody(signed_in)).into_response());
    }
    Ok((cookie, accepted(registered.position, ME.to_owned())).into_response())
}

/// Sign in
///
/// An unknown username and a wrong password get the same answer after the same time. An account with a second factor takes a
/// code, too: of its authenticator, or one of its recovery codes. The session of a refresh cookie that comes with it ends, whosever
/// it is.
#[utoipa::path(
    post, path = "/api/v1/auth/login", operation_id = "login", tag = "accounts",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "Signed in; the refresh cookie is set.", body = SignedIn,
            headers(("Set-Cookie" = String, description = "The refresh cookie."))),
        (status = 401, description = "`credentials_wrong`: the username or the password is wrong; `second_factor_required`: they are right, and a code is needed, too; `code_wrong`: the code is wrong or was used.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`account_suspended`: all of it is right, but an administrator has suspended the account; `suspension` says why and until when.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn login(
    State(server): State<Arc<Server>>,
    context: RequestContext,
    client: Client,
    headers: HeaderMap,
    Json(request): Json<LoginRequest>,
) -> ApiResult<Response> {
    let attempt = SignInAttempt::begin(server.access.rate_limits.as_ref(), &context, &request.username)?;
    let (verified, client) = sign_in::verify(&server, &context, attempt, request, client).await?;
    let account_id = verified.account_id;
    context.signed_in(account_id);
    suspension::refuse(&server, account_id).await?;
    let session = signed::open_for(&server.commands, verified, &client.user_agent, &client.address).await;
    let session = session.map_err(credentials_wrong)?;
    // Only now: who is not signed in anew stays signed in.
    end_former(&server, &headers).await.map_err(ApiError::half_done)?;
    // After the session is there: who asks for erasure ends sessions after their event, so one of the two finds the other.
    let (reason, metadata) = (ErasureCancelledReason::SignedIn, context.metadata(Actor::Account(account_id)));
    let has_cancelled_erasure = due_erasures::cancel(&server.commands, account_id, reason, metadata).await;
    let has_cancelled_erasure = has_cancelled_erasure.map_err(CommandError::after_storing);
    let has_cancelled_erasure = has_cancelled_erasure
        .map_err(|error| ApiError::command(error, |_| ApiError::unauthenticated("The account no longer exists.")))?;
    let cookie = RefreshCookie::new(&server.addresses).set(&session.refresh_token);
    let signed_in = signed_in(&server, &session).await.map_err(ApiError::half_done)?;
    let signed_in = SignedIn { has_cancelled_erasure, ..signed_in };
    Ok((cookie, JsonBody(signed_in)).into_response())
}

/// Refresh the session
///
/// Gives the next access token for the refresh cookie, and replaces the cookie. A cookie that was replaced longer than ten
/// seconds ago ends the session: somebody else may hold a copy. Only pages of this install may ask.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", operation_id = "refresh_session", tag = "accounts",
    security(("refresh_cookie" = [])),
    responses(
        (status = 200, description = "The next access token; the refresh cookie is replaced.", body = SignedIn,
            headers(("Set-Cookie" = String, description = "The next refresh cookie."))),
        (status = 401, description = "`session_ended`: there is no cookie, or its session is over.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`cross_site`: another site asks.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn refresh_session(
    State(server): State<Arc<Server>>,
    context: RequestContext,
    headers: HeaderMap,
) -> ApiResult<Response> {
    refuse_other_sites(&server, &headers)?;
    let cookie = RefreshCookie::new(&server.addresses);
    let Some(token) = cookie.read(&headers) else {
        return Err(session_ended("There is no refresh cookie; sign in."));
    };
    let refreshed = signed::refresh(&server.commands, &token).await;
    if matches!(refreshed, Err(CommandError::Refused(_))) {
        // A token that was used before has just ended the session.
        server.know_ended().await;
    }
    let session = refreshed.map_err(|error| {
        ApiError::command(error, |_| session_ended("The session is over; sign in again.").headers(cookie.clear()))
    })?;
    context.signed_in(session.account_id);
    // The old cookie is replaced: with a failure, too, the next one has to go out, or trying again would end the session.
    let next = || cookie.set(&session.refresh_token);
    let signed_in = signed_in(&server, &session).await.map_err(|error| error.headers(next()))?;
    Ok((next(), JsonBody(signed_in)).into_response())
}

/// Sign out
///
/// Ends the session of the refresh cookie, also for access tokens that are already out. Without a cookie, or with one whose
/// session is over, there is nothing to do and the answer is the same. Only pages of this install may ask.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", operation_id = "logout", tag = "accounts",
    security(("refresh_cookie" = [])),
    responses(
        (status = 204, description = "Signed out; the refresh cookie is gone.",
            headers(("Set-Cookie" = String, description = "Takes the refresh cookie away."))),
        (status = 403, description = "`cross_site`: another site asks.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn logout(State(server): State<Arc<Server>>, headers: HeaderMap) -> ApiResult<Response> {
    refuse_other_sites(&server, &headers)?;
    let cookie = RefreshCookie::new(&server.addresses);
    if let Some(token) = cookie.read(&headers) {
        end_of(&server, &token).await?;
    }
    Ok((StatusCode::NO_CONTENT, cookie.clear()).into_response())
}

/// Ends the session that the browser is signed in by, where its own page has it sign in anew: the cookie will be another's, and
/// nobody could end that session by it any more.
async fn end_former(server: &Server, headers: &HeaderMap) -> ApiResult<()> {
    if refuse_other_sites(server, headers).is_err() {
        return Ok(());
    }
    match RefreshCookie::new(&server.addresses).read(headers) {
        Some(token) => end_of(server, &token).await,
        None => Ok(()),
    }
}

/// Ends the session of a refresh token, for this node before it answers.
async fn end_of(server: &Server, token: &str) -> ApiResult<()> {
    let ended = signed::end(&server.commands, token).await;
    server.know_ended().await;
    match ended {
        // Somebody else was faster.
        Ok(()) | Err(CommandError::Refused(_)) => Ok(()),
        Err(error) => Err(session_failed(error)),
    }
}

/// Who am I
#[utoipa::path(
    get, path = "/api/v1/auth/me", operation_id = "get_me", tag = "accounts",
    security(("access_token" = [])),
    responses((status = 200, description = "The account that is signed in.", body = Account)),
)]
async fn get_me(State(server): State<Arc<Server>>, authenticated: Authenticated) -> ApiResult<JsonBody<Account>> {
    Ok(JsonBody(own_account(&server, authenticated.account_id).await?))
}

/// Erase my account
///
/// Signs the person out everywhere, and forgets them for good after a time that the operator sets (14 days unless they say
/// otherwise), or at once where they set none. Whoever signs in before that keeps the account. Then nothing personal can be read
/// any more, the channels are closed, and the exports that it asked for are deleted. The username is free for others; the
/// channels' handles are not. An administrator has that right taken first (`revoke_administrator`), or is erased by the operator.
#[utoipa::path(
    delete, path = "/api/v1/auth/me", operation_id = "erase_me", tag = "accounts",
    security(("access_token" = [])),
    request_body = EraseAccountRequest,
    responses(
        (status = 200, description = "It will be erased, unless somebody signs in before; all its sessions have ended, and the refresh cookie is gone.", body = ErasureScheduled,
            headers(("Set-Cookie" = String, description = "Takes the refresh cookie away."))),
        (status = 204, description = "Erased at once; the refresh cookie is gone. Channels and exports follow within seconds.",
            headers(("Set-Cookie" = String, description = "Takes the refresh cookie away."))),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code of the second factor is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`only_administrator`: it administers the install, and has to give that up first.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn erase_me(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<EraseAccountRequest>,
) -> ApiResult<Response> {
    let account_id = authenticated.account_id;
    reauthentication::check(&server, &authenticated, request.password, request.code.as_deref()).await?;
    let metadata = authenticated.metadata();
    let cookie = RefreshCookie::new(&server.addresses);
    if !server.erasure_after.is_zero() {
        let requested = due_erasures::request(&server.commands, account_id, server.erasure_after, metadata).await;
        let requested = requested.map_err(not_erased)?;
        sessions::has_ended(&server, requested.position).await;
        let scheduled = ErasureScheduled { erased_at: requested.due_at };
        return Ok((cookie.clear(), JsonBody(scheduled)).into_response());
    }
    let erase = Erase { account_id, by: Some(account_id), even_administrator: false, metadata };
    let position = accounts::erase(&server.commands, erase).await.map_err(not_erased)?;
    server.know_ended().await;
    // So that nobody reads the name in the moment after; it is gone from the log all the same.
    server.has_read(SHOWN_FROM, position).await;
    Ok((StatusCode::NO_CONTENT, cookie.clear()).into_response())
}

async fn open_session(server: &Server, account_id: AccountId, client: &Client) -> ApiResult<signed::OpenedSession> {
    signed::open(&server.commands, account_id, &client.user_agent, &client.address).await.map_err(session_failed)
}

async fn signed_in(server: &Server, session: &signed::OpenedSession) -> ApiResult<SignedIn> {
    Ok(SignedIn {
        account: own_account(server, session.account_id).await?,
        access_token: server.tokens.sign(session.account_id, session.session_id, OffsetDateTime::now_utc()),
        expires_in: access_token::LIFETIME_SECONDS,
        has_cancelled_erasure: false,
    })
}

/// The account as its owner sees it. Whoever has a session has an account, so that a read model without it is behind.
async fn own_account(server: &Server, account_id: AccountId) -> ApiResult<Account> {
    if let Some(row) = server.read.accounts().by_id(account_id).await? {
        return Ok(account(row));
    }
    let head = commands::events::head(server.commands.pool()).await.map_err(ApiError::unavailable)?;
    server.has_read(SHOWN_FROM, head).await;
    let row = server.read.accounts().by_id(account_id).await?;
    row.map(account).ok_or_else(|| ApiError::unavailable("the read model does not have the account yet"))
}

fn account(row: AccountRow) -> Account {
    Account {
        id: row.id.uuid(),
        username: row.username,
        email: row.email,
        is_email_confirmed: row.is_email_confirmed,
        is_administrator: row.is_administrator,
        has_second_factor: row.has_second_factor,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    }
}

/// Refuses what another site's page made a browser send: the cookie would ride along.
fn refuse_other_sites(server: &Server, headers: &HeaderMap) -> ApiResult<()> {
    let is_ours = match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => true,
        Some(_) => false,
        // An old browser, or none at all.
        None => headers
            .get(header::ORIGIN)
            .is_none_or(|origin| origin.as_bytes().eq_ignore_ascii_case(server.addresses.origin().as_bytes())),
    };
    if is_ours {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "cross_site", "Another site asks")
        .detail("Only pages of this install may do this."))
}

fn not_registered(error: AccountsError) -> ApiError {
    let setup_token_invalid = || {
        ApiError::new(StatusCode::FORBIDDEN, "setup_token_invalid", "The set-up token is not valid")
            .detail("The set-up token is wrong or was already used. Leave it out to register without it.")
    };
    match error {
        AccountsError::Invalid(invalid) => ApiError::validation_failed(invalid),
        AccountsError::SetupTokenWrong => setup_token_invalid(),
        AccountsError::Command(error) => ApiError::command(error, |refusal| match refusal {
            AccountRefusal::UsernameTaken => {
                ApiError::new(StatusCode::CONFLICT, "username_taken", "The username is taken")
                    .detail("Somebody else has this username. Choose another.")
            }
            AccountRefusal::SetupTokenUsed => setup_token_invalid(),
            AccountRefusal::AlreadyExists => ApiError::internal("a new account was there before"),
            AccountRefusal::Unknown
            | AccountRefusal::OnlyAdministrator
            | AccountRefusal::SecondFactorThere
            | AccountRefusal::Suspension(_)
            | AccountRefusal::Administrator(_)
            | AccountRefusal::NoSecondFactor => ApiError::internal("a new account was treated as an old one"),
        }),
    }
}

fn not_erased(error: CommandError<AccountRefusal>) -> ApiError {
    ApiError::command(error, |refusal| match refusal {
        AccountRefusal::OnlyAdministrator => ApiError::new(
            StatusCode::CONFLICT,
            "only_administrator",
            "An administrator cannot go",
        )
        .detail(
            "This account administers the install. Give that up first, which takes another administrator; or let the \
                     operator erase it.",
        ),
        refusal => ApiError::internal(refusal),
    })
}

fn credentials_wrong(error: CommandError<CredentialsWrong>) -> ApiError {
    ApiError::command(error, |_| {
        ApiError::new(StatusCode::UNAUTHORIZED, "credentials_wrong", "Username or password are wrong")
            .detail("The username or the password is wrong. Check both and try again.")
    })
}

fn session_failed(error: CommandError<SessionRefusal>) -> ApiError {
    ApiError::command(error, |refusal| match refusal {
        SessionRefusal::NoAccount => ApiError::unauthenticated("The account no longer exists."),
        SessionRefusal::AccountSuspended => ApiError::unauthenticated("The account is suspended."),
        refusal => ApiError::internal(refusal),
    })
}

fn session_ended(detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "session_ended", "The session has ended").detail(detail)
}
