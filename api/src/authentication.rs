//! Who makes a request: the bearer token, and the session or the personal token behind it.

mod scopes;

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, MatchedPath, OptionalFromRequestParts},
    http::{StatusCode, header, request::Parts},
};
use commands::{
    Actor, Metadata,
    accounts::{self, personal_tokens},
};
use domain::ids::{AccountId, SessionId};

use crate::{
    access_token::TokenRefused,
    error::{ApiError, ApiResult},
    frame::RequestContext,
    server::Server,
};

/// A request with a good access token of a session that is open, or with a personal token that may do what is asked.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated {
    pub(crate) account_id: AccountId,
    /// The session; of a personal token its own id, which ends in the same ways.
    pub(crate) session_id: SessionId,
    /// Whether it is a personal token.
    pub(crate) is_program: bool,
    context: RequestContext,
}

impl Authenticated {
    /// Notes that a code is used up.
    pub(crate) fn used_code(&self) {
        self.context.used_code();
    }

    /// For a command that this account gives.
    pub(crate) fn metadata(&self) -> Metadata {
        self.context.metadata(Actor::Account(self.account_id))
    }
}

impl FromRequestParts<Arc<Server>> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> ApiResult<Self> {
        authenticate(parts, server)
            .await?
            .ok_or_else(|| ApiError::unauthenticated("Send an access token as `Authorization: Bearer …`."))
    }
}

/// Without a token the request is anybody's; with a bad one it is refused, so that a client learns to get a new one.
impl OptionalFromRequestParts<Arc<Server>> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> ApiResult<Option<Self>> {
        authenticate(parts, server).await
    }
}

async fn authenticate(parts: &mut Parts, server: &Server) -> ApiResult<Option<Authenticated>> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")) else {
        return Err(ApiError::unauthenticated("The header `Authorization` has to be `Bearer` and an access token."));
    };
    let token = token.trim();
    let is_program = token.starts_with(personal_tokens::PREFIX);
    let (account_id, session_id) = match is_program {
        true => personal_token(parts, server, token).await?,
        false => access_token(server, token).await?,
    };
    let Ok(context) = RequestContext::from_request_parts(parts, server).await;
    context.count_for(server, account_id)?;
    context.signed_in(account_id);
    let administration = &server.access.administration;
    if !administration.admits(context.client().0)
        && commands::accounts::is_administrator(&server.commands, account_id).await?
    {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "address_not_allowed", "Not from this address").detail(
            "Administrators of this Weir may be signed in from certain addresses only, and this is none of them.",
        ));
    }
    Ok(Some(Authenticated { account_id, session_id, is_program, context }))
}

async fn access_token(server: &Server, token: &str) -> ApiResult<(AccountId, SessionId)> {
    let claims = server.tokens.check(token).map_err(|refused| match refused {
        TokenRefused::Expired => ApiError::unauthenticated("The access token is over; refresh the session."),
        TokenRefused::Invalid => ApiError::unauthenticated("The access token is not valid here."),
    })?;
    if !is_open(server, claims.sid).await? {
        return Err(ApiError::unauthenticated("The session has ended; sign in again."));
    }
    Ok((claims.sub, claims.sid))
}

async fn personal_token(parts: &Parts, server: &Server, token: &str) -> ApiResult<(AccountId, SessionId)> {
    let found = server.ended.find_token(token).await.map_err(ApiError::unavailable)?;
    let found = found.ok_or_else(|| {
        ApiError::unauthenticated("The personal token is wrong, was revoked, or its time is over; make another.")
    })?;
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    match scopes::needed(&parts.method, route) {
        Some(scope) if found.scopes.contains(&scope) => Ok((found.account_id, found.token_id.uuid().into())),
        Some(scope) => Err(ApiError::new(StatusCode::FORBIDDEN, "scope_missing", "The personal token may not do this")
            .detail(format!("This takes the scope `{}`. Make a token with it.", scope.as_str()))),
        None => Err(ApiError::new(StatusCode::FORBIDDEN, "scope_missing", "No personal token may do this")
            .detail("Sign in for this: personal tokens cannot do it, whatever their scopes.")),
    }
}

/// Whether a session, or a personal token in its place, is good.
pub(crate) async fn is_open(server: &Server, session_id: SessionId) -> ApiResult<bool> {
    match server.ended.has_ended(session_id.uuid()) {
        Some(has_ended) => Ok(!has_ended),
        None => accounts::is_open(&server.commands, session_id).await.map_err(ApiError::unavailable),
    }
}
