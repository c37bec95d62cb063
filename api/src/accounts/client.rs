use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};

use crate::client_address::ClientAddress;

/// The most of what a browser calls itself that is kept, in bytes.
const USER_AGENT_MAX: usize = 512;

/// What a session is recorded with, so that its owner recognises it.
pub(super) struct Client {
    /// What the browser calls itself; empty when it does not say.
    pub(super) user_agent: String,
    /// The address that the request came from; empty when it is not known.
    pub(super) address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, state).await;
        let user_agent = parts.headers.get(header::USER_AGENT).map(|name| name.as_bytes()).unwrap_or_default();
        let user_agent = &user_agent[..user_agent.len().min(USER_AGENT_MAX)];
        Ok(Self {
            user_agent: String::from_utf8_lossy(user_agent).into_owned(),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
        })
    }
}
