//! Another password for who has lost theirs, by a mailed code.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::StatusCode};
use commands::{
    Actor, CommandError,
    accounts::password_reset::{self, PasswordResetError, ResetPassword},
};
use openapi::{
    Problem,
    accounts::password_reset::{RequestPasswordResetRequest, ResetPasswordRequest},
};
use tokio::time::{Instant, sleep_until};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::{SHOWN_FROM, email::mail_code_wrong, second_factor};
use crate::{
    error::{ApiError, ApiResult},
    extract::Json,
    frame::RequestContext,
    server::Server,
};

/// When somebody is told that their code is wrong, at the earliest: looking for what is not there takes less time than holding a code
/// against one that is, and that must not tell who has an account.
const TOLD_AFTER: Duration = Duration::from_millis(250);

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(request_password_reset, reset_password))
}

/// Have a code for another password mailed
///
/// The answer is the same whether or not there is such an account. A code goes to the address of the account where that is confirmed, at
/// most one a minute and five an hour; only the last one is good, for an hour.
#[utoipa::path(
    post, path = "/api/v1/auth/password/reset", operation_id = "request_password_reset", tag = "accounts",
    request_body = RequestPasswordResetRequest,
    responses((status = 204, description = "If there is such an account and its address is confirmed, a code is on its way.")),
)]
async fn request_password_reset(
    State(server): State<Arc<Server>>,
    context: RequestContext,
    Json(request): Json<RequestPasswordResetRequest>,
) -> ApiResult<StatusCode> {
    let found = password_reset::find(&server.commands, &request.account).await.map_err(ApiError::unavailable)?;
    if let Some(account_id) = found {
        let (commands, metadata) = (server.commands.clone(), context.metadata(Actor::System));
        // Afterwards, so that the time of the answer tells nobody whether there was something to do.
        tokio::spawn(async move {
            match password_reset::request(&commands, account_id, metadata).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::debug!(account.id = %account_id, "no code was mailed: the address is not confirmed, or it was too often");
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    account.id = %account_id,
                    "a code for another password could not be sent; its owner can ask for another"
                ),
            }
        });
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Choose another password by a mailed code
///
/// All sessions of the account end, and its personal tokens are revoked. An account with a second factor takes a code of that, too.
#[utoipa::path(
    put, path = "/api/v1/auth/password/reset", operation_id = "reset_password", tag = "accounts",
    request_body = ResetPasswordRequest,
    responses(
        (status = 204, description = "Changed; sign in with it."),
        (status = 403, description = "`mail_code_wrong`: there is no such account, or the code is wrong, older than an hour, was used, or 250 wrong ones came before it; `second_factor_required`: the code is right, and one of the second factor is needed, too; `code_wrong`: that of the second factor is wrong or was used.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes of the second factor were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn reset_password(
    State(server): State<Arc<Server>>,
    context: RequestContext,
    Json(request): Json<ResetPasswordRequest>,
) -> ApiResult<StatusCode> {
    let told_at = Instant::now() + TOLD_AFTER;
    let ResetPasswordRequest { account, code, new_password, second_factor_code } = request;
    let new_password = Zeroizing::new(new_password);
    let wanted = ResetPassword {
        account: &account,
        code: &code,
        new_password: &new_password,
        second_factor_code: second_factor_code.as_deref(),
    };
    match password_reset::reset(&server.commands, wanted).await {
        Ok((account_id, position)) => {
            context.signed_in(account_id);
            server.know_ended().await;
            server.has_read(SHOWN_FROM, position).await;
            Ok(StatusCode::NO_CONTENT)
        }
        Err(PasswordResetError::Invalid(mut invalid)) => {
            invalid.field = "new_password";
            Err(ApiError::validation_failed([invalid]))
        }
        Err(PasswordResetError::CodeWrong) => {
            sleep_until(told_at).await;
            Err(mail_code_wrong())
        }
        Err(PasswordResetError::SecondFactor(refusal)) => Err(second_factor::failed(CommandError::Refused(refusal))),
        Err(PasswordResetError::Command(error)) => Err(ApiError::command(error, ApiError::internal)),
    }
}
