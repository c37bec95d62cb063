//! Holds requests for what is about to come: blocked playlist reloads and hinted parts (RFC 8216bis sections 6.2.5.2
//! and 6.2.2). All who wait for a stream listen to the same bell.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{address::ReloadQuery, problem::Problem};
use crate::packager::{Broadcast, Reload, Shown, View};

/// For a stream that has just begun: its first segment takes 4 s at most.
const FIRST_PLAYLIST_TIMEOUT: Duration = Duration::from_secs(8);

/// The view whose playlist has what was asked for.
pub(super) async fn for_playlist(broadcast: &Broadcast, query: Option<ReloadQuery>) -> Result<Arc<View>, Problem> {
    let reload = |view: &View| match query {
        None => Reload::Ready,
        Some(query) => view.reload(query.segment, query.part),
    };
    let view = settled(broadcast, |view| reload(view) != Reload::Wait).await?.ok_or(Problem::NOTHING_TO_PLAY)?;
    match reload(&view) {
        Reload::TooFar => Err(Problem::RELOAD_TOO_FAR),
        Reload::Ready | Reload::Wait => Ok(view),
    }
}

/// The view that has a part, if it is there or the next to come.
pub(super) async fn for_part(broadcast: &Broadcast, number: u64) -> Result<Arc<View>, Problem> {
    if broadcast.subscribe().borrow().view.is_none() {
        return Err(Problem::MEDIA_NOT_FOUND);
    }
    let is_settled = |view: &View| view.facts.next_part != number || view.facts.is_ended;
    settled(broadcast, is_settled).await?.ok_or(Problem::MEDIA_NOT_FOUND)
}

/// Waits until a view is as wanted or the broadcast ends; `None` when it ended before it could be played.
async fn settled(broadcast: &Broadcast, is_wanted: impl Fn(&View) -> bool) -> Result<Option<Arc<View>>, Problem> {
    let mut shown = broadcast.subscribe();
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
        // The sender lives in the broadcast that we hold, so only the time can have run out.
        Ok(Err(_)) | Err(_) => Err(Problem::NOT_READY),
    }
}
