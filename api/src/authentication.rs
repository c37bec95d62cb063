//! Who makes a request: the bearer token, and the session behind it.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{header, request::Parts},
};
use commands::{Actor, Metadata};
use domain::ids::{AccountId, SessionId};

use crate::{
    access_token::TokenRefused,
    error::{ApiError, ApiResult},
    frame::RequestContext,
    server::Server,
};

/// A request with a good access token of a session that is open.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated {
    pub(crate) account_id: AccountId,
    pub(crate) session_id: SessionId,
    context: RequestContext,
}

impl Authenticated {
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
    let claims = server.tokens.check(token.trim()).map_err(|refused| match refused {
        TokenRefused::Expired => ApiError::unauthenticated("The access token is over; refresh the session."),
        TokenRefused::Invalid => ApiError::unauthenticated("The access token is not valid here."),
    })?;
    if !is_open(server, claims.sid).await? {
        return Err(ApiError::unauthenticated("The session has ended; sign in again."));
    }
    let Ok(context) = RequestContext::from_request_parts(parts, server).await;
    context.signed_in(claims.sub);
    Ok(Some(Authenticated { account_id: claims.sub, session_id: claims.sid, context }))
}

async fn is_open(server: &Server, session_id: SessionId) -> ApiResult<bool> {
    commands::accounts::sessions::is_open(&server.commands, session_id).await.map_err(ApiError::unavailable)
}
