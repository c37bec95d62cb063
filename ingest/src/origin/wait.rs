//! Holds requests for what is about to come: blocked playlist reloads and hinted parts (RFC 8216bis sections 6.2.5.2
//! and 6.2.2). All who wait for a stream on a thread listen to the same bell.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{address::Position, problem::Problem};
use crate::packager::{MAX_PICTURE_MS, Reload, Rendition, Shown, View};

/// For a stream that has just begun: its first segment takes 4 s at most.
const FIRST_PLAYLIST_TIMEOUT: Duration = Duration::from_secs(8);
/// While a picture stays nothing is written; what comes after it is there within this.
const PICTURE_TIMEOUT: Duration = Duration::from_millis(MAX_PICTURE_MS.unsigned_abs() + 2_000);

/// How long what is to come is waited for, at a target duration in seconds.
pub(crate) fn limit(target_duration_s: u64) -> Duration {
    Duration::from_secs(3 * target_duration_s).max(PICTURE_TIMEOUT)
}

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
    let is_settled = |shown: &Shown| shown.is_ended || shown.view.as_deref().is_some_and(&is_wanted);
    let patience = {
        let now = rendition.now();
        if is_settled(&now) {
            return Ok(now.view.clone());
        }
        match &now.view {
            Some(view) => limit(u64::from(view.facts.timing.target_duration_s)),
            None => FIRST_PLAYLIST_TIMEOUT,
        }
    };
    let mut shown = rendition.subscribe_here();
    match timeout(patience, shown.wait_for(is_settled)).await {
        Ok(Ok(shown)) => Ok(shown.view.clone()),
        // The sender lives in the rendition that we hold, so only the time can have run out.
        Ok(Err(_)) | Err(_) => Err(Problem::NOT_READY),
    }
}
