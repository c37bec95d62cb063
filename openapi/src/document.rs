//! The document's frame: title, tags, ways to sign in, and the refusals that many operations share.
//!
//! A new capability adds a tag to [`frame`]. Its routes name only the refusals that are their own: [`complete`] adds those
//! that follow from what an operation takes.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
        ServerBuilder,
        path::{Operation, ParameterIn},
        schema::ComponentsBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::TagBuilder,
    },
};

use crate::{FieldError, PROBLEM_JSON, Problem, accounts::suspension::SuspensionNotice};

/// The name of the way to sign in that calls use: a bearer token.
pub const ACCESS_TOKEN: &str = "access_token";
/// The name of the way to sign in that only refreshing and signing out use: a cookie.
pub const REFRESH_COOKIE: &str = "refresh_cookie";

const DESCRIPTION: &str = "\
The REST API of Weir, a self-hosted live-streaming platform.

**Signing in** gives an access token for `Authorization: Bearer …`, good for 15 minutes, and a refresh cookie, with which \
`POST /api/v1/auth/refresh` gives the next one. Programs use a **personal token** (`POST /api/v1/auth/tokens`) in the same \
header, which may do what its scopes say.

**Errors** are problem documents (RFC 9457, `application/problem+json`). Go by `code`; `errors` names the wrong fields.

**Lists** come in pages: give `next_cursor` of one page as `after` of the next.

**Writes answer when they can be read**: what a request has changed, the next one sees. Should reading it back take longer \
than two seconds (the operator may set another limit), the answer is 202 with the address where the result will be.

**Repeating a request**: a `POST` that takes an `Idempotency-Key` can be sent again with it for a day; with the same body it gets the \
first answer (and `Idempotency-Replayed: true`) and happens once, with another it is refused. Signing in has no such keys.

**Events**: everything that happens is in one ordered log, which can be read, followed and exported. \
[The catalogue](/docs/events) lists what there is; what goes over NATS and over the feed is in `openapi/asyncapi.yaml`.

**How often**: answers say in `RateLimit-Policy` and `RateLimit` what may be asked in what time and what is left of it; \
beyond that there is 429 with `Retry-After`.

**Times** are UTC as in RFC 3339, **ids** are opaque text. Fields may be added at any time.";

/// The document without any operation.
#[must_use]
pub fn frame() -> OpenApi {
    let tag = |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    let access_token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `access_token` from registering, signing in or refreshing."))
        .build();
    let refresh_cookie = ApiKeyValue::with_description(
        "weir_refresh",
        "Set by registering, signing in and refreshing. Over https its name is `__Host-weir_refresh`.",
    );
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Weir")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(
                    LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build(),
                ))
                .build(),
        )
        .servers(Some([ServerBuilder::new().url("/").description(Some("This server")).build()]))
        .tags(Some([
            tag("accounts", "People who can sign in: registering, signing in and out."),
            tag("channels", "What people watch and follow, and the keys to publish there."),
            tag("streams", "Broadcasts of channels, running and past."),
            tag("recordings", "Streams that are kept for later watching, and what a channel says of that."),
            tag("reports", "What somebody says is wrong, and what administrators decide."),
            tag("ingest", "What the server sees of an encoder."),
            tag("events", "The log of everything that happened, as a feed; the [event catalogue](/docs/events) lists what there is."),
            tag("exports", "Parts of the log as files, made in the background."),
            tag("operation", "Whether the server lives and can serve; this document."),
        ]))
        .components(Some(
            ComponentsBuilder::new()
                .schema(Problem::name(), Problem::schema())
                .schema(FieldError::name(), FieldError::schema())
                .schema(SuspensionNotice::name(), SuspensionNotice::schema())
                .security_scheme(ACCESS_TOKEN, SecurityScheme::Http(access_token))
                .security_scheme(REFRESH_COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(refresh_cookie)))
                .build(),
        ))
        .build()
}

/// Adds to every operation the refusals that follow from what it takes.
pub fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch, &mut item.head];
        for operation in operations.into_iter().flatten() {
            complete_operation(operation, path.starts_with("/api/"));
        }
    }
}

fn complete_operation(operation: &mut Operation, is_limited: bool) {
    let takes = |place: &ParameterIn| {
        operation.parameters.iter().flatten().any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.parameter_in == *place,
            RefOr::Ref(_) => false,
        })
    };
    let mut common = vec![("default", "Anything else that went wrong.")];
    if operation.request_body.is_some() {
        common.push(("400", "The body is no JSON: `json_invalid`."));
        common.push(("413", "The body is larger than 64 kB: `body_too_large`."));
        common.push(("415", "The body is not `application/json`: `media_type_unsupported`."));
        common.push(("422", "A field is wrong, missing or unknown: `validation_failed`."));
    } else if takes(&ParameterIn::Query) {
        common.push(("400", "A parameter is wrong or unknown: `query_invalid`, `cursor_invalid`."));
    } else if takes(&ParameterIn::Path) {
        common.push(("400", "The address is not UTF-8: `path_invalid`."));
    }
    if operation.security.as_ref().is_some_and(|ways| {
        ways.iter().any(|way| {
            // The type has no getter, its JSON has.
            serde_json::to_value(way).is_ok_and(|way| way.get(ACCESS_TOKEN).is_some())
        })
    }) {
        common.push(("401", "The access token is missing, over or wrong: `unauthenticated`."));
    }
    if is_limited {
        common.push(("429", "Too many requests: `rate_limited`. `Retry-After` says when to try again."));
    }
    common.push((
        "503",
        "Something that the server needs does not answer: `unavailable`, `overloaded`, `outcome_unknown`.",
    ));
    for (status, description) in common {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
            ResponseBuilder::new()
                .description(description)
                .content(
                    PROBLEM_JSON,
                    ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build(),
                )
                .build()
                .into()
        });
    }
}
