//! The source as fragmented MP4 in order, for who encodes renditions of it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    rendition::{Rendition, Shown},
    view::View,
};

/// What a [`Feed`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem {
    /// An initialisation segment: before the first fragment, after [`FeedItem::Lagged`], and where tracks change. The
    /// fragment after it begins with a key frame.
    Init(Bytes),
    /// A fragment with pictures, sound or both, as viewers get it.
    Fragment {
        /// The fragment.
        bytes: Bytes,
        /// Where it begins on the broadcast's timeline, in decode time. Times in it are on the same timeline.
        first_decode_ms: i64,
    },
    /// What should have come next is no longer in the playlist. The feed goes on with the latest key frame.
    Lagged,
}

/// Reads the source of a broadcast. It holds nothing but its place, however slowly it is read.
pub struct Feed {
    shown: watch::Receiver<Shown>,
    /// The number of the next part; `None` where a key frame is to be found first.
    next_part: Option<u64>,
    /// The number of the last initialisation segment given.
    init: Option<u64>,
}

impl Feed {
    pub(super) fn new(source: &Arc<Rendition>) -> Self {
        Self { shown: source.subscribe(), next_part: None, init: None }
    }

    /// The next item, once it is there; `None` when the broadcast has ended. Nothing comes before the first segment is
    /// complete. Cancel safe.
    pub async fn next(&mut self) -> Option<FeedItem> {
        loop {
            let Shown { view, is_ended } = self.shown.borrow_and_update().clone();
            if let Some(item) = view.and_then(|view| self.take(&view)) {
                return Some(item);
            }
            if is_ended || self.shown.changed().await.is_err() {
                return None;
            }
        }
    }

    fn take(&mut self, view: &View) -> Option<FeedItem> {
        let number = match self.next_part {
            Some(number) => number,
            None => {
                // What has left the playlist is not given: where groups of pictures are longer than that, the next one has
                // to be waited for.
                let listed = view.segments().skip(view.facts.listed_from);
                let first = listed.filter(|segment| segment.is_independent()).last()?.parts.first()?.number;
                *self.next_part.insert(first)
            }
        };
        if number >= view.facts.next_part {
            return None;
        }
        let listed = view.segments().skip(view.facts.listed_from);
        let found = listed.into_iter().find_map(|segment| {
            let part = segment.parts.iter().find(|part| part.number == number)?;
            Some((segment, part))
        });
        let Some((segment, part)) = found else {
            (self.next_part, self.init) = (None, None);
            return Some(FeedItem::Lagged);
        };
        if self.init != Some(segment.init.number) {
            self.init = Some(segment.init.number);
            return Some(FeedItem::Init(segment.init.media.bytes.clone()));
        }
        self.next_part = Some(number + 1);
        Some(FeedItem::Fragment { bytes: part.bytes.clone(), first_decode_ms: part.start_ms })
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Feed").field("next_part", &self.next_part).finish_non_exhaustive()
    }
}
