//! The ladder of one stream: which renditions it is to have, and ffmpeg kept running for them.

use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::streams::{Rendition, RenditionsReason};
use metrics::counter;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{
    LadderReason, LadderRendition, LadderStatus, Ladders, Rung,
    budget::{Demand, Lease},
    cost::{self, SourcePicture},
    report::{self, Reporter},
    session::{End, Look, Session, SessionError},
};
use crate::packager::{Broadcast, Feed, FeedItem};

/// The time in which failures are counted.
const MINUTE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Makes renditions until the broadcast ends.
pub(super) async fn run(ladders: &Ladders, broadcast: &Arc<Broadcast>) {
    let publishing = Arc::clone(&ladders.0.publishing);
    let (reporter, reporting) = report::reporter(broadcast.stream_id(), publishing);
    let supervisor = Supervisor {
        ladders,
        broadcast,
        lease: ladders.0.budget.join(),
        reporter,
        made: Vec::new(),
        most: usize::MAX,
        denied: 0,
        failures: VecDeque::new(),
    };
    tokio::select! {
        () = supervisor.run() => {}
        () = reporting.run() => {}
    }
}

struct Supervisor<'a> {
    ladders: &'a Ladders,
    broadcast: &'a Arc<Broadcast>,
    lease: Lease,
    reporter: Reporter,
    /// The names of the renditions that the broadcast has.
    made: Vec<String>,
    /// More than this was too slow.
    most: usize,
    /// So many are not made for want of budget.
    denied: usize,
    failures: VecDeque<Instant>,
}

/// Why ffmpeg is started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    First,
    NewSource,
    Regranted,
    Restarted,
    Recovered,
}

impl Supervisor<'_> {
    async fn run(mut self) {
        let mut cause = Cause::First;
        let mut last_source = None;
        let (mut feed, mut init) = match self.begin().await {
            Some(begun) => begun,
            None => return,
        };
        loop {
            let source = picture(self.broadcast, &init);
            if last_source.replace(source) != Some(source) {
                // What was too slow for another picture need not be for this one.
                self.most = usize::MAX;
            }
            let all = self.ladders.0.config.rungs_below(&source);
            let wanted = all.len().min(self.most);
            let demand = cost::demand(&source, &all[..wanted], &self.ladders.0.config.encoder);
            self.lease.demand(demand.clone());
            let granted = self.lease.granted().min(wanted);
            let reason = match () {
                () if source.width == 0 => Some(LadderReason::NoPicture),
                () if all.is_empty() => Some(LadderReason::SourceSmall),
                () if wanted < all.len() => Some(LadderReason::TooSlow),
                () if granted < wanted => Some(LadderReason::NoBudget),
                () => None,
            };
            self.count_denied(wanted - granted);

            let end = if granted == 0 {
                self.make_none(reason);
                tokio::select! {
                    () = self.lease.changed() => End::Regranted,
                    init = next_init(&mut feed) => init.map_or(End::Ended, End::NewSource),
                }
            } else {
                let rungs: Vec<_> = all[..granted].iter().rev().cloned().collect();
                self.make(&rungs, source, &demand, (cause, reason), init, &mut feed).await
            };

            cause = match end {
                End::Ended => return,
                End::NewSource(new) => {
                    init = new;
                    cause = Cause::NewSource;
                    continue;
                }
                End::Regranted => Cause::Regranted,
                End::TooSlow => {
                    warn!(
                        stream.id = %self.broadcast.stream_id(),
                        "renditions fall behind the stream: the most expensive one is dropped"
                    );
                    counter!("weir_ladder_dropped_total", "reason" => LadderReason::TooSlow.code()).increment(1);
                    self.most = granted - 1;
                    Cause::Restarted
                }
                End::Missing => self.give_up(LadderReason::FfmpegMissing, granted, cause).await,
                End::Failed(_) if self.broadcast.is_ended() => return,
                End::Failed(error) => self.recover(&error, granted, cause).await,
            };
            // What was fed is gone: it is begun at the latest key frame.
            (feed, init) = match self.begin().await {
                Some(begun) => begun,
                None => return,
            };
        }
    }

    /// A feed and its first initialisation segment; `None` when the broadcast ends before.
    async fn begin(&self) -> Option<(Feed, Bytes)> {
        let mut feed = self.broadcast.feed();
        let init = next_init(&mut feed).await?;
        Some((feed, init))
    }

    /// Runs ffmpeg.
    async fn make(
        &mut self,
        rungs: &[Rung],
        source: SourcePicture,
        demand: &Demand,
        (cause, reason): (Cause, Option<LadderReason>),
        init: Bytes,
        feed: &mut Feed,
    ) -> End {
        self.keep_only(rungs);
        let stream_id = self.broadcast.stream_id();
        let renditions: Vec<_> = rungs.iter().map(|rung| rendition(rung, &source)).collect();
        let shown: Vec<_> = rungs.iter().map(|rung| shown(rung, &source)).collect();
        let session = Session {
            ladders: self.ladders,
            broadcast: self.broadcast,
            source,
            rungs,
            estimate: demand.cost(rungs.len()),
        };
        let (ladders, reporter) = (self.ladders, &mut self.reporter);
        let mut is_reported = false;
        let look = |look: Look| {
            if !look.are_all_there && !is_reported {
                let reason = Some(reason.unwrap_or(LadderReason::Starting));
                ladders.set_status(stream_id, LadderStatus { renditions: Vec::new(), reason });
                return;
            }
            if !std::mem::replace(&mut is_reported, true) {
                report_start(reporter, &renditions, cause, reason);
            }
            let mut renditions = shown.clone();
            for (rendition, lag_ms) in renditions.iter_mut().zip(look.lags_ms) {
                rendition.lag_ms = lag_ms;
            }
            ladders.set_status(stream_id, LadderStatus { renditions, reason });
        };
        session.run(init, feed, &mut self.lease, look).await
    }

    /// Takes away what is not made any more.
    fn keep_only(&mut self, rungs: &[Rung]) {
        for name in std::mem::take(&mut self.made) {
            if !rungs.iter().any(|rung| rung.name == name) {
                self.broadcast.remove_rendition(&name);
            }
        }
        self.made = rungs.iter().map(|rung| rung.name.clone()).collect();
    }

    fn make_none(&mut self, reason: Option<LadderReason>) {
        let had_some = !self.made.is_empty();
        self.keep_only(&[]);
        self.ladders.set_status(self.broadcast.stream_id(), LadderStatus { renditions: Vec::new(), reason });
        match reason.and_then(LadderReason::reported) {
            Some(reason) => self.reporter.report(Vec::new(), reason),
            None if had_some => self.reporter.report(Vec::new(), RenditionsReason::SourceChanged),
            None => {}
        }
    }

    fn count_denied(&mut self, denied: usize) {
        let more = denied.saturating_sub(self.denied) as u64;
        counter!("weir_ladder_dropped_total", "reason" => LadderReason::NoBudget.code()).increment(more);
        self.denied = denied;
    }

    /// After a failure: a pause, and longer ones when it fails again and again.
    async fn recover(&mut self, error: &SessionError, granted: usize, cause: Cause) -> Cause {
        let now = Instant::now();
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now - *first > MINUTE) {
            self.failures.pop_front();
        }
        let pace = &self.ladders.0.config.pace;
        let stream_id = self.broadcast.stream_id();
        let count = self.failures.len();
        if count > pace.max_failures {
            warn!(
                stream.id = %stream_id, error = error as &dyn Error, failures = count,
                "renditions are given up for a while"
            );
            self.failures.clear();
            return self.give_up(LadderReason::FfmpegFailed, granted, cause).await;
        }
        warn!(stream.id = %stream_id, error = error as &dyn Error, "renditions failed and are begun again");
        counter!("weir_ladder_restarts_total").increment(1);
        let doublings = u32::try_from(count - 1).unwrap_or(u32::MAX).min(16);
        sleep((pace.restart_after * 2_u32.pow(doublings)).min(LONGEST_PAUSE)).await;
        // Having failed once more it has not recovered yet.
        if cause == Cause::Recovered { Cause::Recovered } else { Cause::Restarted }
    }

    /// Leaves the stream with its source alone for a while.
    async fn give_up(&mut self, reason: LadderReason, granted: usize, cause: Cause) -> Cause {
        // What was given up before and has not come back is not dropped again.
        let dropped = if cause == Cause::Recovered { 0 } else { granted as u64 };
        counter!("weir_ladder_dropped_total", "reason" => reason.code()).increment(dropped);
        self.make_none(Some(reason));
        // Others may have what it would take.
        self.lease.demand(Demand::default());
        tokio::select! {
            () = sleep(self.ladders.0.config.pace.retry_after) => {}
            () = self.broadcast.ended() => {}
        }
        Cause::Recovered
    }
}

/// Says that renditions are there, unless it is known.
fn report_start(reporter: &mut Reporter, renditions: &[Rendition], cause: Cause, reason: Option<LadderReason>) {
    let reason = match (reason.and_then(LadderReason::reported), cause) {
        (Some(reason), _) => reason,
        // The same as before, after a moment without them: that is no news.
        (None, Cause::NewSource | Cause::Restarted) if reporter.has_reported(renditions) => return,
        (None, Cause::First | Cause::Restarted) => RenditionsReason::Started,
        (None, Cause::NewSource) => RenditionsReason::SourceChanged,
        (None, Cause::Regranted) => RenditionsReason::BudgetFreed,
        (None, Cause::Recovered) => RenditionsReason::Recovered,
    };
    reporter.report(renditions.to_vec(), reason);
}

/// The next initialisation segment; `None` when the broadcast ends before.
async fn next_init(feed: &mut Feed) -> Option<Bytes> {
    loop {
        if let FeedItem::Init(init) = feed.next().await? {
            return Some(init);
        }
    }
}

/// What an initialisation segment of the source says.
fn picture(broadcast: &Broadcast, init: &Bytes) -> SourcePicture {
    let view = broadcast.source().view();
    let media = view.as_ref().and_then(|view| {
        let mut inits = view.segments().rev().map(|segment| &segment.init.media);
        inits.find(|media| media.bytes == *init).or(Some(&view.facts.init.media))
    });
    match media {
        Some(media) => SourcePicture {
            width: media.width,
            height: media.height,
            frame_rate: media.frame_rate,
            is_rare: !media.codecs.starts_with("avc"),
        },
        None => SourcePicture { width: 0, height: 0, frame_rate: 0.0, is_rare: false },
    }
}

fn rendition(rung: &Rung, source: &SourcePicture) -> Rendition {
    let Rung { name, height, bitrate_kbps, .. } = rung.clone();
    Rendition { name, width: source.width_at(height), height, bitrate_kbps }
}

fn shown(rung: &Rung, source: &SourcePicture) -> LadderRendition {
    let Rendition { name, width, height, bitrate_kbps } = rendition(rung, source);
    LadderRendition { name, width, height, frame_rate: cost::frame_rate(rung, source), bitrate_kbps, lag_ms: 0 }
}
