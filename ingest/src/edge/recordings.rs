//! Recordings at a relay: what is in them does not change, so it is fetched once and kept; who may have it is decided here, by
//! the terms that the origin tells and takes back.
//!
//! Nothing of any recording is shown while it is not known what was taken away: one that was deleted must not go on being served.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode, uri::PathAndQuery},
    response::Response,
};
use tokio::time::Instant;

use super::{Refused, Shared, store::Found};
use crate::{
    origin::{
        cutting,
        problem::Problem,
        recordings::{Address, Wanted},
        reply,
    },
    ports::RecordingUse,
    rights::{Change, KnownRecording, RecordingDecision, RecordingTerms},
};

/// How long terms are believed without asking again. What changes is told at once; this is for what was not.
const BELIEVED_FOR: Duration = Duration::from_secs(30);
/// How many recordings are known at a time.
const KNOWN: usize = 10_000;

pub(super) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    if request.method == Method::OPTIONS {
        return reply::preflight();
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Problem::METHOD_NOT_ALLOWED.into_response();
    }
    let Some(address) = Address::read(request.uri.path()) else { return Problem::NOT_FOUND.into_response() };
    if address.wanted == Wanted::Rights {
        // Relays do not tell other relays.
        return Problem::NOT_FOUND.into_response();
    }
    let wish = address.wanted.is_for();
    let (terms, is_public) = match shared.decide(&address, wish).await {
        Ok(decided) => decided,
        Err(refused) => return refused.into_response(),
    };
    if wish == RecordingUse::Download {
        // Too large to be kept. The origin ends it when the right to it does, and so do we, of what has come until then.
        let path = request.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        return match shared.upstream.pass(&request.method, &format!("/vod{path}"), &request.headers).await {
            Ok(answer) => answer.map(|body| {
                cutting::until(body, || {
                    let (rights, token) = (shared.rights.clone(), address.token.map(str::to_owned));
                    async move { rights.recording_lost(terms, wish, token.as_deref()).await }
                })
            }),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "a request for a recording could not be passed on");
                Problem::ORIGIN_LOST.into_response()
            }
        };
    }
    let found = shared.recordings.find(&format!("/vod/{}", address.path)).await;
    // It may have been taken away while it came.
    if let Err(refused) = shared.decide(&address, wish).await {
        return refused.into_response();
    }
    let is_public = is_public && address.token.is_none();
    let cache = match (address.wanted, is_public) {
        (Wanted::Master | Wanted::Media, true) => "public, max-age=10",
        (Wanted::Master | Wanted::Media, false) => "private, max-age=10",
        (Wanted::Picture | Wanted::Times, true) => "public, max-age=60",
        (Wanted::Picture | Wanted::Times, false) => "private, max-age=60",
        (_, true) => "public, max-age=31536000, immutable",
        (_, false) => "private, max-age=31536000, immutable",
    };
    match found {
        Ok(Found::Whole(kept)) => kept.respond_part(&request.headers, cache),
        Ok(Found::Growing(growing)) => growing.respond(),
        Err(refused) => refused.into_response(),
    }
}

impl Shared {
    /// The terms under which it may be had, and whether everybody may.
    async fn decide(&self, address: &Address<'_>, wish: RecordingUse) -> Result<(RecordingTerms, bool), Refused> {
        if !self.rights.is_complete() || !self.is_heard() {
            return Err(Refused::Ours(Problem::NOT_READY));
        }
        let terms = self.terms(address).await?;
        match self.rights.decide_recording(terms, wish, address.token) {
            RecordingDecision::Granted { is_public } => Ok((terms, is_public)),
            RecordingDecision::Refused => Err(Refused::Ours(Problem::PLAYBACK_REFUSED)),
            RecordingDecision::Unknown => Err(Refused::Ours(Problem::RECORDING_NOT_FOUND)),
        }
    }

    /// Under which terms it may be had, as the origin says when it is asked.
    async fn terms(&self, address: &Address<'_>) -> Result<RecordingTerms, Refused> {
        let id = address.recording_id;
        if let Some((terms, at)) = self.known_terms().get(&id)
            && at.elapsed() < BELIEVED_FOR
        {
            return Ok(*terms);
        }
        let times_told = self.times_told.load(Ordering::SeqCst);
        let answer = match self.recordings.get(&format!("/vod/{id}/rights")).await {
            Err(Refused::Said(answer)) if answer.status == StatusCode::NOT_FOUND => {
                return Err(Refused::Ours(Problem::RECORDING_NOT_FOUND));
            }
            Err(_) => return Err(Refused::Ours(Problem::ORIGIN_LOST)),
            Ok(answer) => answer,
        };
        let known = serde_json::from_slice::<KnownRecording>(answer.body());
        let KnownRecording { terms, channel } = known.map_err(|_| Refused::Ours(Problem::ORIGIN_LOST))?;
        self.rights.learn(Change::Channel(channel));
        let mut all = self.known_terms();
        if all.len() >= KNOWN {
            all.clear();
        }
        // What was told meanwhile may be of this one, and newer than the answer: then it is asked again.
        if self.times_told.load(Ordering::SeqCst) == times_told {
            all.insert(id, (terms, Instant::now()));
        }
        Ok(terms)
    }
}
