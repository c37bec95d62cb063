//! Whether somebody may sign in, found out to the end: who hangs up before they are answered has guessed all the same, and the
//! owner of the account is told.

use std::sync::Arc;

use axum::http::StatusCode;
use commands::{
    Actor, CommandError,
    accounts::{
        self, Verified,
        failed_sign_ins::FailedSignIn,
        second_factor::{self as factor, SecondFactorRefusal},
    },
};
use domain::accounts::SignInFailure;
use openapi::accounts::LoginRequest;
use tracing::Instrument;
use zeroize::Zeroizing;

use super::{client::Client, credentials_wrong, second_factor};
use crate::{
    error::{ApiError, ApiResult},
    frame::RequestContext,
    limits::SignInAttempt,
    server::Server,
};

/// Whose username and password these are, and whose code where the account asks for one; with what the session is to be recorded
/// with.
///
/// # Errors
/// `credentials_wrong`, `second_factor_required`, `code_wrong`, `too_many_codes`.
pub(super) async fn verify(
    server: &Arc<Server>,
    context: &RequestContext,
    attempt: SignInAttempt,
    request: LoginRequest,
    client: Client,
) -> ApiResult<(Verified, Client)> {
    let correlation_id = context.metadata(Actor::System).correlation_id;
    let verifying = commands::correlated(correlation_id, to_the_end(Arc::clone(server), attempt, request, client));
    let (verified, client, is_used) = tokio::spawn(verifying.in_current_span()).await.map_err(ApiError::internal)??;
    if is_used {
        context.used_code();
    }
    Ok((verified, client))
}

/// The same, and whether a code is used up.
async fn to_the_end(
    server: Arc<Server>,
    attempt: SignInAttempt,
    request: LoginRequest,
    client: Client,
) -> ApiResult<(Verified, Client, bool)> {
    let LoginRequest { username, password, code } = request;
    let password = Zeroizing::new(password);
    let failed = |failure| {
        let (user_agent, address) = (client.user_agent.clone(), client.address.clone());
        server.failed_sign_ins.note(FailedSignIn { username: username.clone(), failure, user_agent, address });
    };
    let verified = accounts::authenticate(&server.commands, &username, &password).await;
    match verified {
        Err(CommandError::Refused(_)) => failed(SignInFailure::WrongPassword),
        // What could not be checked was no wrong guess.
        _ => attempt.forget(),
    }
    let verified = verified.map_err(credentials_wrong)?;
    let checked = factor::check(&server.commands, verified.account_id, code.as_deref()).await;
    if matches!(checked, Err(CommandError::Refused(SecondFactorRefusal::CodeWrong))) {
        failed(SignInFailure::WrongCode);
    }
    let is_used = checked.map_err(|error| {
        ApiError::command(error, |refusal| match refusal {
            SecondFactorRefusal::TooManyAttempts => second_factor::too_many_codes(),
            SecondFactorRefusal::CodeMissing => {
                ApiError::new(StatusCode::UNAUTHORIZED, "second_factor_required", "A code is needed")
                    .detail("Send the same again with a code of the authenticator, or a recovery code, as `code`.")
            }
            _ => ApiError::new(StatusCode::UNAUTHORIZED, "code_wrong", "The code is wrong")
                .detail("The code is wrong, too old, or was used before. Wait for the next one and try again."),
        })
    })?;
    Ok((verified, client, is_used))
}
