//! The REST API, sessions and the web app's files.
//!
//! A capability is a module here with its routes: who may, which command or query, and how the answer looks. Wire types
//! are in `openapi`. To add one: write the module with a `routes()` function and add a line to `routes` below; the tests
//! fail until `tests/it/operations.rs` knows how to call every operation, signed in and not.
//!
//! Around every route lies `frame`: request ids, one log line a call, time limits, panics, problem documents for all
//! that fails, and the headers that browsers are told by.
//!
//! **Read your writes**: a command answers with the position of its event; the API waits up to two seconds
//! ([`Api::read_after_write`]) until the read models have it and renders from them. After that it answers 202 with the address where the
//! result will be.

mod access;
mod access_token;
mod accounts;
mod addresses;
mod authentication;
mod channels;
mod client_address;
mod conditional;
mod document;
mod ended;
mod error;
mod events;
mod exports;
mod extract;
mod frame;
mod headers;
mod idempotency;
mod ingest;
mod invites;
mod limits;
mod long_answers;
mod media_calls;
mod operation;
mod pictures;
mod ports;
mod recordings;
mod registrations;
mod reports;
mod server;
mod streams;
mod web_app;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Extensions, HeaderMap, StatusCode, Version, header},
    middleware,
    routing::get,
};
use tower_http::compression::{
    CompressionLayer,
    predicate::{Predicate, SizeAbove},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use access::{AccessOptions, AddressList};
pub use access_token::AccessTokenKey;
pub use events::{FeedOptions, asyncapi};
pub use limits::RateLimits;
pub use media_calls::{media_answered, media_call};
pub use ports::{
    Advice, BoxFuture, Check, IngestRefusal, IngestRendition, IngestSample, IngestState, IngestStatus, LiveStreams,
    PlaybackPass, PlaybackTokens, PortUnavailable, Publishers, Readiness, RecordingPass,
};
pub use server::Api;
pub use web_app::WebApp;

use server::Server;

/// The most that a request's body may have, in bytes.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Everything that is served but the media under `/live`: the API, its document, Swagger UI, health and the web app.
///
/// Serve it with [`SocketAddr`](std::net::SocketAddr) as connect info; without it sessions are recorded without an
/// address.
pub fn router(api: Api) -> Router {
    router_with(api, WebApp::embedded())
}

/// The same as [`router`] with another web app than the one that was built in.
pub fn router_with(api: Api, web_app: WebApp) -> Router {
    let server = Arc::new(Server::new(api, web_app));
    let routes: Router<Arc<Server>> = routes().into();
    // Swagger UI and the web app's files come compressed.
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(1024).and(is_json));
    routes
        .layer(compression)
        .route(events::PAGE, get(events::get_page))
        .route(accounts::AVATAR_PATH, get(accounts::serve_avatar))
        .merge(openapi::swagger::router("/docs", document::PATH))
        .fallback(web_app::serve)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), frame::frame))
        .with_state(server)
}

/// The OpenAPI document of the API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    openapi::document::complete(&mut document);
    document
}

fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::with_openapi(openapi::document::frame())
        .merge(accounts::routes())
        .merge(registrations::routes())
        .merge(channels::routes())
        .merge(invites::routes())
        .merge(streams::routes())
        .merge(recordings::routes())
        .merge(reports::routes())
        .merge(ingest::routes())
        .merge(events::routes())
        .merge(exports::routes())
        .merge(operation::routes())
        .routes(routes!(document::get_document))
}

fn is_json(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}
