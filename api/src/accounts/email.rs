//! The e-mail address of an account: confirmed by a mailed code, changed by codes to both addresses.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use commands::{
    Actor,
    accounts::email::{self, EmailError, MailedCode as Mailed},
};
use domain::{
    accounts::{EmailRefusal, Language},
    ids::AccountId,
};
use openapi::{
    FieldError, Problem,
    accounts::{
        Account,
        email::{
            ChangeEmailRequest, ConfirmEmailRequest, Language as WireLanguage, MailedCode, MailedCodes,
            RequestEmailChangeRequest, RequestEmailConfirmationRequest,
        },
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{SHOWN_FROM, own_account, reauthentication};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Json,
    frame::RequestContext,
    server::Server,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(request_email_confirmation, confirm_email))
        .routes(routes!(request_email_change, change_email))
}

/// Have a code mailed to my address
///
/// One went there when the account was registered. Asked again within a minute nothing is mailed, and the last code is good as it
/// was; otherwise only the new one is.
#[utoipa::path(
    post, path = "/api/v1/auth/email/confirmation", operation_id = "request_email_confirmation", tag = "accounts",
    security(("access_token" = [])),
    request_body = RequestEmailConfirmationRequest,
    responses(
        (status = 200, description = "A code is on its way.", body = MailedCode),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`email_confirmed`: the address is confirmed already.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_mails`: more than five were asked for within an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn request_email_confirmation(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<RequestEmailConfirmationRequest>,
) -> ApiResult<JsonBody<MailedCode>> {
    let (account_id, metadata) = (authenticated.account_id, authenticated.metadata());
    let requested =
        email::request_confirmation(&server.commands, account_id, request.language.map(language), metadata).await;
    let Mailed { expires_at, again_at, .. } = requested.map_err(failed)?;
    Ok(JsonBody(MailedCode { expires_at, again_at }))
}

/// Confirm my address
///
/// By the code that was mailed to it. From then on no other account can have it, and a lost password can be reset.
#[utoipa::path(
    put, path = "/api/v1/auth/email/confirmation", operation_id = "confirm_email", tag = "accounts",
    security(("access_token" = [])),
    request_body = ConfirmEmailRequest,
    responses(
        (status = 200, description = "Confirmed.", body = Account),
        (status = 403, description = "`mail_code_wrong`: the code is wrong, older than a day, was used, or five wrong ones came before it; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`email_taken`: another account has confirmed this address; `email_confirmed`: it is confirmed already.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn confirm_email(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ConfirmEmailRequest>,
) -> ApiResult<JsonBody<Account>> {
    let account_id = authenticated.account_id;
    let confirmed = email::confirm(&server.commands, account_id, &request.code, authenticated.metadata()).await;
    server.has_read(SHOWN_FROM, confirmed.map_err(failed)?).await;
    own_account(&server, account_id).await.map(JsonBody).map_err(ApiError::half_done)
}

/// Ask for another address
///
/// A code goes to the address to be and, where the present one is confirmed, one there, too; nothing changes until both come back.
/// Whether another account has the address shows in the mail alone.
#[utoipa::path(
    post, path = "/api/v1/auth/email/change", operation_id = "request_email_change", tag = "accounts",
    security(("access_token" = [])),
    request_body = RequestEmailChangeRequest,
    responses(
        (status = 200, description = "The codes are on their way.", body = MailedCodes),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code of the second factor is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`email_unchanged`: this is the present address, and it is confirmed.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_mails`: another change was asked for within a minute, or more than five within an hour; `too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn request_email_change(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<RequestEmailChangeRequest>,
) -> ApiResult<JsonBody<MailedCodes>> {
    let RequestEmailChangeRequest { email, password, code, language } = request;
    reauthentication::check(&server, &authenticated, password, code.as_deref()).await?;
    let (account_id, metadata) = (authenticated.account_id, authenticated.metadata());
    let requested =
        email::request_change(&server.commands, account_id, &email, language.map(self::language), metadata).await;
    let Mailed { expires_at, again_at, needs_present_code, .. } = requested.map_err(failed)?;
    Ok(JsonBody(MailedCodes { expires_at, again_at, needs_present_code }))
}

/// Change my address
///
/// By the codes that were mailed to the address to be and, where one went there, to the present one.
#[utoipa::path(
    put, path = "/api/v1/auth/email/change", operation_id = "change_email", tag = "accounts",
    security(("access_token" = [])),
    request_body = ChangeEmailRequest,
    responses(
        (status = 200, description = "Changed; the address is confirmed.", body = Account),
        (status = 403, description = "`mail_code_wrong`: a code is wrong, older than a day, was used, or five wrong ones came before it; `errors` says which; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`email_taken`: another account has confirmed this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change_email(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ChangeEmailRequest>,
) -> ApiResult<JsonBody<Account>> {
    let ChangeEmailRequest { new_code, present_code } = request;
    let (account_id, metadata) = (authenticated.account_id, authenticated.metadata());
    let changed = email::change(&server.commands, account_id, present_code.as_deref(), &new_code, metadata).await;
    let position = changed.map_err(|error| match error {
        EmailError::CodeWrong { present, wanted } => {
            let fields = [("/present_code", present), ("/new_code", wanted)];
            fields.into_iter().filter(|(_, is_wrong)| *is_wrong).fold(mail_code_wrong(), |error, (pointer, _)| {
                error.field(FieldError {
                    pointer: pointer.into(),
                    code: "mail_code_wrong".into(),
                    message: "This code is wrong, too old, or was used before.".into(),
                })
            })
        }
        error => failed(error),
    })?;
    server.has_read(SHOWN_FROM, position).await;
    own_account(&server, account_id).await.map(JsonBody).map_err(ApiError::half_done)
}

/// Has the code mailed that confirms the address of a new account. Should that fail, its owner can ask for another.
pub(super) async fn begin(
    server: &Server,
    context: &RequestContext,
    account_id: AccountId,
    wanted: Option<WireLanguage>,
    headers: &HeaderMap,
) {
    let accepted = || Language::preferred(headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?);
    let language = wanted.map(language).or_else(accepted).unwrap_or_default();
    let metadata = context.metadata(Actor::Account(account_id));
    if let Err(error) = email::request_confirmation(&server.commands, account_id, Some(language), metadata).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "a new account could not be sent the code for its address; its owner can ask for one"
        );
    }
}

/// 403: what was mailed is not what came back.
pub(super) fn mail_code_wrong() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "mail_code_wrong", "The code from the mail is wrong")
        .detail("The code is wrong, too old, or was used before. Look at the last mail, or ask for another.")
}

fn language(language: WireLanguage) -> Language {
    match language {
        WireLanguage::En => Language::En,
        WireLanguage::Uk => Language::Uk,
        WireLanguage::Ru => Language::Ru,
        WireLanguage::Fr => Language::Fr,
    }
}

fn failed(error: EmailError) -> ApiError {
    let conflict = |code, title| ApiError::new(StatusCode::CONFLICT, code, title);
    match error {
        EmailError::Invalid(invalid) => ApiError::validation_failed([invalid]),
        EmailError::CodeWrong { .. } => mail_code_wrong(),
        EmailError::TooManyMails => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_mails", "Too many mails were asked for")
                .detail(
                    "Look for those that were sent, among unwanted mail, too. Wait a while before asking for another.",
                )
                .header(header::RETRY_AFTER, axum::http::HeaderValue::from_static("900"))
        }
        EmailError::Command(error) => ApiError::command(error, |refusal| match refusal {
            EmailRefusal::Taken => conflict("email_taken", "Another account has this address")
                .detail("Another account has confirmed this address. Give this one another, or use that account."),
            EmailRefusal::AlreadyConfirmed => {
                conflict("email_confirmed", "The address is confirmed already").detail("There is nothing to do.")
            }
            EmailRefusal::Unchanged => conflict("email_unchanged", "This is the present address")
                .detail("The account has this address already, and it is confirmed."),
            EmailRefusal::NotRequested => mail_code_wrong(),
            EmailRefusal::Unknown => ApiError::unauthenticated("The account no longer exists."),
        }),
    }
}
