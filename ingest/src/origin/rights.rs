//! The guard in front of everything that viewers ask for: reads the token out of the address, says whether it is enough,
//! hands on what is asked for without it, and takes back an answer that is still waited for when the right to it is lost.
//!
//! | address | what |
//! |---|---|
//! | `/t/<token>/<…>` | `<…>`, for whoever has the token |
//! | `/authorise` | 204 or 403 for the address in `X-Original-URI` or `X-Forwarded-Uri`: for caches that verify |
//! | `/<id>/rights`, `/channels/<id>/rights` | who may watch a stream or recording, or a channel: for relays |
//! | `/revocations?epoch=<…>&after=<…>` | what has happened to rights, held until something has: for relays |
//!
//! The last two want `Authorization: Bearer <a relay's token>`. Of a channel that was closed everything is 404.

use std::{future::pending, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::Response,
};
use domain::ids::ChannelId;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use uuid::Uuid;

use super::{LiveService, cutting, problem::Problem, reply};
use crate::rights::{Bearer, ChannelRights, Pass, Refusal, Rights};

/// What a relay or a verifying cache is told of an answer: that it may keep it under the address without the token, for
/// those of its viewers who have a right.
pub(crate) const RESTRICTED: HeaderName = HeaderName::from_static("weir-restricted");

/// How long a relay's question for news is held.
/// A relay that hears nothing for twice as long shows nothing more of what is not public.
const NEWS_TIMEOUT: Duration = Duration::from_secs(5);

/// Whoever can be asked about what a relay does not know yet.
pub(crate) trait Lookup: Send + Sync {
    /// Who may watch what has this id; `None` when there is nothing.
    ///
    /// # Errors
    /// When nobody can be asked at the moment.
    fn look_up(&self, id: Uuid, is_channel: bool) -> BoxFuture<'_, Result<Option<ChannelRights>, Unanswered>>;

    /// Whether what was taken away would be known by now.
    fn is_up_to_date(&self) -> bool;
}

/// Nobody could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered;

struct Guard {
    rights: Rights,
    lookup: Option<Arc<dyn Lookup>>,
}

/// To whose media somebody is let, and why.
struct Owned {
    channel_id: ChannelId,
    pass: Option<Pass>,
    /// Who loses the right when it is taken away.
    holder: Option<Pass>,
}

/// What is behind the guard.
pub(crate) trait Guarded: Send + Sync + 'static {
    /// Answers who has a right.
    fn answer(&self, request: &Parts) -> impl Future<Output = Response> + Send;
}

/// Lets to `inner` only who has a right, asking `lookup` about what is not known. What belongs to no channel is let through.
///
/// One future and no layers: a layer would cost each request that is held 0.7 KiB more.
pub(crate) fn guarded(rights: Rights, lookup: Option<Arc<dyn Lookup>>, inner: impl Guarded) -> LiveService {
    let guarded = Arc::new((Guard { rights, lookup }, inner));
    LiveService::new(move |mut request| {
        let guarded = Arc::clone(&guarded);
        Box::pin(async move {
            let (guard, inner) = &*guarded;
            guard.admit(&mut request, inner).await
        })
    })
}

/// What an address asks for, read as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked<'a> {
    token: Option<&'a str>,
    /// Without the token, beginning with a slash.
    path: &'a str,
    subject: Option<Subject>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// A stream or a recording.
    Owned(Uuid),
    Channel(Uuid),
}

impl<'a> Asked<'a> {
    /// Reads a path below `/live` or `/vod`.
    fn read(path: &'a str) -> Self {
        let (token, path) = match path.strip_prefix("/t/").and_then(|rest| rest.find('/').map(|end| rest.split_at(end)))
        {
            Some((token, path)) => (Some(token), path),
            None => (None, path),
        };
        let mut names = path.split('/').skip(1);
        let id = |name: Option<&str>| name.and_then(|name| Uuid::parse_str(name).ok());
        let subject = match names.next() {
            Some("channels") => id(names.next()).map(Subject::Channel),
            first => id(first).map(Subject::Owned),
        };
        Self { token, path, subject }
    }
}

impl Guard {
    /// The channel that is asked for and the right to it; `Ok(None)` for what belongs to none.
    async fn decide(&self, asked: &Asked<'_>) -> Result<Option<(ChannelId, Option<Pass>)>, Problem> {
        let Some(subject) = asked.subject else { return Ok(None) };
        if let Subject::Owned(id) = subject
            && self.rights.is_withdrawn(id)
        {
            // For everybody, relays among them.
            return Err(Problem::STREAM_NOT_FOUND);
        }
        let known = match subject {
            Subject::Channel(id) if self.lookup.is_none() && self.rights.is_complete() => Some(ChannelId::from(id)),
            Subject::Owned(id) | Subject::Channel(id) => self.rights.channel_of(id),
        };
        let channel_id = match (known, &self.lookup) {
            (Some(channel_id), _) => channel_id,
            (None, Some(lookup)) => {
                let (Subject::Owned(id) | Subject::Channel(id)) = subject;
                match lookup.look_up(id, matches!(subject, Subject::Channel(_))).await {
                    Ok(Some(rights)) => rights.channel_id,
                    Ok(None) => return Err(Problem::STREAM_NOT_FOUND),
                    Err(Unanswered) => return Err(Problem::NOT_READY),
                }
            }
            (None, None) if self.rights.is_complete() => return Ok(None),
            // It may be something that only some may see.
            (None, None) => return Err(Problem::NOT_READY),
        };
        let rights = self.rights.of_channel(channel_id);
        if rights.is_closed {
            // For everybody, whatever they bring: there is nothing to have a right to.
            return Err(Problem::STREAM_NOT_FOUND);
        }
        match self.rights.decide_by(&rights, asked.token) {
            Ok(Some(_)) if self.lookup.as_ref().is_some_and(|lookup| !lookup.is_up_to_date()) => {
                Err(Problem::NOT_READY)
            }
            Ok(pass) => Ok(Some((channel_id, pass))),
            Err(Refusal::TokenMissing | Refusal::TokenWrong) => Err(Problem::PLAYBACK_REFUSED),
        }
    }

    async fn admit(&self, request: &mut Parts, inner: &impl Guarded) -> Response {
        let (path, headers) = (request.uri.path(), &request.headers);
        match Service::read(path) {
            _ if request.method == Method::OPTIONS => {}
            // What is rare is not to make what is held larger.
            Some(Service::Authorise) => return Box::pin(self.authorise(headers)).await,
            Some(Service::Revocations) => return Box::pin(self.tell_changes(headers, request.uri.query())).await,
            Some(Service::Rights) => return self.tell_rights(headers, path),
            None => {}
        }
        let owned = match request.method {
            // A browser asks for no media by it, and without what would show a right.
            Method::OPTIONS => None,
            _ => match self.enter(request).await {
                Ok(owned) => owned,
                Err(problem) => return problem.into_response(),
            },
        };
        // The one place at which thousands wait: what is kept over it is kept for each of them.
        let mut response = tokio::select! {
            biased;
            response = inner.answer(request) => response,
            problem = self.refusal(owned.as_ref()) => return problem.into_response(),
        };
        let Some(Owned { channel_id, pass, holder }) = owned else { return response };
        match pass {
            Some(pass) if pass.bearer == Bearer::Edge => {
                response.headers_mut().insert(RESTRICTED, HeaderValue::from_static("1"));
            }
            Some(_) => make_private(response.headers_mut()),
            None => {}
        }
        if response.body().size_hint().exact().is_none() {
            // It goes on for as long as the segment grows: everybody may watch now, and not all of them then, it may be.
            let rights = self.rights.clone();
            let lost = || async move { rights.lost(channel_id, holder).await };
            response = response.map(|body| cutting::until(body, lost));
        }
        response
    }

    /// Whose it is that is asked for, and by which right; `Ok(None)` for what is nobody's. The token goes out of the address.
    async fn enter(&self, request: &mut Parts) -> Result<Option<Owned>, Problem> {
        let mut asked = Asked::read(request.uri.path());
        let has_token = asked.token.is_some();
        let relay = bearer(&request.headers).filter(|_| !has_token).and_then(|token| self.rights.edge(token));
        if relay.is_some() {
            asked.token = bearer(&request.headers);
        }
        let decided = self.decide(&asked).await?;
        let is_unowned = decided.is_some_and(|(owner, _)| asked.subject == Some(Subject::Owned(owner.uuid())));
        if has_token {
            request.uri = with_path(&request.uri, asked.path).ok_or(Problem::NOT_FOUND)?;
        }
        if is_unowned {
            request.extensions.insert(Unowned);
        }
        // A relay asks for all of its viewers, and looks itself at who of them may go on.
        Ok(decided.map(|(channel_id, pass)| Owned { channel_id, pass, holder: pass.or(relay) }))
    }

    /// Why there is no answer any more, once the right to it is lost; nobody has to have a right to what is nobody's.
    async fn refusal(&self, owned: Option<&Owned>) -> Problem {
        let Some(Owned { channel_id, holder, .. }) = owned else { return pending().await };
        self.rights.lost(*channel_id, *holder).await;
        let is_closed = self.rights.of_channel(*channel_id).is_closed;
        if is_closed { Problem::STREAM_NOT_FOUND } else { Problem::PLAYBACK_REFUSED }
    }

    /// Says for a cache whether it may serve an address.
    async fn authorise(&self, headers: &HeaderMap) -> Response {
        let given = ["x-original-uri", "x-forwarded-uri"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
        let path = given.and_then(|given| given.split('?').next());
        // Recordings have terms of their own, which are not known here.
        let path = path.and_then(|path| path.strip_prefix("/live"));
        let Some(path) = path else { return Problem::NOT_FOUND.into_response() };
        match self.decide(&Asked::read(path)).await {
            Ok(_) => empty(StatusCode::NO_CONTENT),
            Err(problem) => problem.into_response(),
        }
    }

    fn tell_rights(&self, headers: &HeaderMap, path: &str) -> Response {
        if !self.is_edge(headers) {
            return Problem::PLAYBACK_REFUSED.into_response();
        }
        if !self.rights.is_complete() {
            return Problem::NOT_READY.into_response();
        }
        let id = path.rsplit('/').nth(1).and_then(|id| Uuid::parse_str(id).ok());
        let Some(id) = id else { return Problem::NOT_FOUND.into_response() };
        // A channel that nothing is known of is public, and whether it is there is for others to say.
        let channel_id = self.rights.channel_of(id).unwrap_or_else(|| ChannelId::from(id));
        json(&self.rights.of_channel(channel_id))
    }

    async fn tell_changes(&self, headers: &HeaderMap, query: Option<&str>) -> Response {
        if !self.is_edge(headers) {
            return Problem::PLAYBACK_REFUSED.into_response();
        }
        if !self.rights.is_complete() {
            return Problem::NOT_READY.into_response();
        }
        let Since { epoch, after } = Since::read(query.unwrap_or_default());
        match timeout(NEWS_TIMEOUT, self.rights.told(epoch, after)).await {
            Ok(told) => json(&told),
            Err(_) => empty(StatusCode::NO_CONTENT),
        }
    }

    fn is_edge(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| self.rights.is_edge(token))
    }
}

/// What the guard answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Authorise,
    Revocations,
    Rights,
}

impl Service {
    /// Reads a path below `/live`, without a token.
    pub(super) fn read(path: &str) -> Option<Self> {
        match path {
            "/authorise" => Some(Self::Authorise),
            "/revocations" => Some(Self::Revocations),
            path if path.ends_with("/rights") => Some(Self::Rights),
            _ => None,
        }
    }
}

/// A path below `/live` without the token that may be in it.
pub(super) fn without_token(path: &str) -> &str {
    Asked::read(path).path
}

/// Says to what is behind the guard that nobody is known to own what is asked for, so that no right to it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unowned;

/// The token of a relay or of a verifying cache, which comes in a header, so that it needs no address of its own.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The address with another path.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}

/// What only some may see must not be kept for others on the way.
fn make_private(headers: &mut HeaderMap) {
    let cache = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let private = cache.and_then(|cache| cache.strip_prefix("public")).map(|rest| format!("private{rest}"));
    if let Some(private) = private.and_then(|private| HeaderValue::try_from(private).ok()) {
        headers.insert(header::CACHE_CONTROL, private);
    }
}

/// From which change on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Since {
    pub(crate) epoch: Option<Uuid>,
    pub(crate) after: u64,
}

impl Since {
    /// As in an address.
    pub(crate) fn query(&self) -> String {
        match self.epoch {
            Some(epoch) => format!("epoch={epoch}&after={}", self.after),
            None => format!("after={}", self.after),
        }
    }

    fn read(query: &str) -> Self {
        let value = |wanted: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted).map(|(_, value)| value))
        };
        Self {
            epoch: value("epoch").and_then(|epoch| epoch.parse().ok()),
            after: value("after").and_then(|after| after.parse().ok()).unwrap_or_default(),
        }
    }
}

pub(super) fn json(body: &impl Serialize) -> Response {
    let Ok(body) = serde_json::to_vec(body) else { return Problem::INTERNAL.into_response() };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    reply::allow_every_origin(response.headers_mut());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_out_of_the_address() {
        const ID: &str = "0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11";
        let id = Uuid::parse_str(ID).unwrap();
        let cases = [
            ("/ID/index.m3u8", None, "/ID/index.m3u8", Some(Subject::Owned(id))),
            ("/t/abc/ID/source/p1.m4s", Some("abc"), "/ID/source/p1.m4s", Some(Subject::Owned(id))),
            ("/t/abc/channels/ID/index.m3u8", Some("abc"), "/channels/ID/index.m3u8", Some(Subject::Channel(id))),
            ("/t/abc", None, "/t/abc", None),
            ("/t//ID/index.m3u8", Some(""), "/ID/index.m3u8", Some(Subject::Owned(id))),
            ("/t/a/t/b/ID/index.m3u8", Some("a"), "/t/b/ID/index.m3u8", None),
            ("/", None, "/", None),
            ("", None, "", None),
        ];
        for (path, token, inner, subject) in cases {
            let (path, inner) = (path.replace("ID", ID), inner.replace("ID", ID));
            assert_eq!(Asked::read(&path), Asked { token, path: &inner, subject }, "{path}");
        }
    }

    #[test]
    fn only_what_was_public_is_made_private() {
        let after = |before: &'static str| {
            let mut headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(before))]);
            make_private(&mut headers);
            headers[header::CACHE_CONTROL].to_str().unwrap().to_owned()
        };
        assert_eq!(after("public, max-age=31536000, immutable"), "private, max-age=31536000, immutable");
        assert_eq!(after("no-store"), "no-store");
    }

    #[test]
    fn where_a_relay_is_reads_as_it_was_written() {
        for since in [Since::default(), Since { epoch: Some(Uuid::from_u128(9)), after: 7 }] {
            let read = Since::read(&since.query());
            assert_eq!((read.epoch, read.after), (since.epoch, since.after));
        }
    }
}
