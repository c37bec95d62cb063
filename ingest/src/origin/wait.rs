//! Holds requests for what is about to come: blocked playlist reloads and hinted parts (RFC 8216bis sections 6.2.5.2
//! and 6.2.2). All who wait for a stream listen to the same bell.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{address::Position, problem::Problem};
use crate::packager::{Reload, Rendition, Shown, View};

/// For a stream that has just begun: its first segment takes 4 s at most.
const FIRST_PLAYLIST_TIMEOUT: Duration = Duration::from_secs(8);

/// The view whose playlist has what was asked for.
pub(super) async fn for_playlist(rendition: &Rendition, position: Option<Position>) -> Result<Arc<View>, Problem> {
    let reload = |view: &View| match position {
        None => Reload::Ready,
        Some(Position { segment, part }) => view.reload(segment, part),
    };
    let view = settled(rendition, |view| reload(view) != Reload::Wait).await?.ok_or(Problem::NOTHING_TO_PLAY)?;
    match reload(&view) {
        Reload::TooFar => Err(Problem::RELOAD_TOO_FAR),
        Reload::Ready | Reload::Wait => Ok(view),
    }
}

/// The view that has a part, if it is there or the next to come.
pub(super) async fn for_part(rendition: &Rendition, number: u64) -> Result<Arc<View>, Problem> {
    if rendition.view().is_none() {
        return Err(Problem::MEDIA_NOT_FOUND);
    }
    let is_settled = |view: &View| view.facts.next_part != number || view.facts.is_ended;
    settled(rendition, is_settled).await?.ok_or(Problem::MEDIA_NOT_FOUND)
}

/// The view in which a segment has begun, if it is there or the next to come.
pub(super) async fn for_segment(rendition: &Rendition, number: u64) -> Result<Arc<View>, Problem> {
    let next = rendition.view().ok_or(Problem::MEDIA_NOT_FOUND)?.facts.next_segment;
    if number > next + 1 {
        return Err(Problem::MEDIA_NOT_FOUND);
    }
    let is_settled = |view: &View| {
        let facts = &view.facts;
        facts.is_ended || number < facts.next_segment || facts.open.as_ref().is_some_and(|open| open.number == number)
    };
    settled(rendition, is_settled).await?.ok_or(Problem::MEDIA_NOT_FOUND)
}

/// Waits until a view is as wanted or the rendition ends; `None` when it ended before it could be played, or was
/// removed.
async fn settled(rendition: &Rendition, is_wanted: impl Fn(&View) -> bool) -> Result<Option<Arc<View>>, Problem> {
    let mut shown = rendition.subscribe();
    let is_settled = |shown: &Shown| shown.is_ended || shown.view.as_deref().is_some_and(&is_wanted);
    let limit = {
        let now = shown.borrow();
        if is_settled(&now) {
            return Ok(now.view.clone());
        }
        match &now.view {
            Some(view) => Duration::from_secs(3 * u64::from(view.facts.timing.target_duration_s)),
            None => FIRST_PLAYLIST_TIMEOUT,
        }
    };
    match timeout(limit, shown.wait_for(is_settled)).await {
        Ok(Ok(shown)) => Ok(shown.view.clone()),
        // The sender lives in the rendition that we hold, so only the time can have run out.
        Ok(Err(_)) | Err(_) => Err(Problem::NOT_READY),
    }
}
