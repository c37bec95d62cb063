//! The ladder of one stream: which renditions it is to have, and ffmpeg kept running for them.

use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::streams::{Rendition, RenditionsReason};
use metrics::counter;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{
    LadderReason, LadderRendition, LadderStatus, Ladders, Rung,
    backoff::Backoff,
    budget::{Claim, Demand, Lease},
    cost::{self, SourcePicture},
    fallback::Fallback,
    report::{self, Reporter},
    session::{End, Look, Session, SessionError},
};
use crate::packager::{Broadcast, Feed, FeedItem};

/// The time in which failures are counted.
const MINUTE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often it is seen whether there is room for more.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(1);

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
        slow: Backoff::new(&ladders.0.config.pace),
        fallback: Fallback::new(&ladders.0.config),
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
    /// When one more is tried all the same.
    slow: Backoff,
    fallback: Fallback<'a>,
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
    /// What was too slow, or did not start, is tried again.
    Retried,
}

/// What is to be made of a picture.
struct Plan {
    source: SourcePicture,
    /// What could be, the cheapest first.
    all: Vec<Rung>,
    /// So many of them are.
    count: usize,
    demand: Demand,
    /// When one more may be tried, and what it takes with the others.
    next: Option<(Instant, Demand)>,
    reason: Option<LadderReason>,
    /// What the streamer is told.
    remark: Option<LadderReason>,
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
                self.forget_slowness();
            }
            let plan = self.plan(source);
            let end = if plan.count == 0 {
                self.make_none(plan.reason, plan.remark);
                let claim = self.lease.claim();
                let better = better(&mut self.fallback, &claim, self.broadcast, &plan);
                tokio::select! {
                    () = self.lease.changed() => End::Regranted,
                    init = next_init(&mut feed) => init.map_or(End::Ended, End::NewSource),
                    end = better => end,
                }
            } else {
                self.make(&plan, cause, init, &mut feed).await
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
                    self.drop_one(plan.count);
                    Cause::Restarted
                }
                End::OneMore => {
                    self.try_one_more();
                    Cause::Retried
                }
                End::EncoderWorks => {
                    self.forget_slowness();
                    Cause::Retried
                }
                End::Missing => self.give_up(LadderReason::FfmpegMissing, plan.count, cause).await,
                End::Failed(_) | End::NeverStarted(_) if self.broadcast.is_ended() => return,
                // Nothing of it was seen yet.
                End::NeverStarted(error) if self.fall_back(&error) => cause,
                End::Failed(error) | End::NeverStarted(error) => self.recover(&error, plan.count, cause).await,
            };
            // What was fed is gone: it is begun at the latest key frame.
            (feed, init) = match self.begin().await {
                Some(begun) => begun,
                None => return,
            };
        }
    }

    /// What is to be made now, within the budget as it is now.
    fn plan(&mut self, source: SourcePicture) -> Plan {
        let all = self.fallback.adapt(self.ladders.0.config.rungs_below(&source));
        let encoder = self.fallback.encoder();
        let wanted = all.len().min(self.most);
        let demand = cost::demand(&source, &all[..wanted], encoder);
        self.lease.demand(demand.clone());
        let count = self.lease.granted().min(wanted);
        let reason = match () {
            () if source.width == 0 => Some(LadderReason::NoPicture),
            () if all.is_empty() => Some(LadderReason::SourceSmall),
            () if wanted < all.len() => Some(LadderReason::TooSlow),
            () if count < wanted => Some(LadderReason::NoBudget),
            () => None,
        };
        self.count_denied(wanted - count);
        // Where there is no room for what is wanted already, there is none for more.
        let has_more = wanted < all.len() && count == wanted;
        let again_at = self.slow.again_at().filter(|_| has_more);
        let next = again_at.map(|at| (at, cost::demand(&source, &all[..=wanted], encoder)));
        let remark = match reason {
            Some(LadderReason::NoPicture | LadderReason::SourceSmall) => reason,
            // Why there are fewer, too.
            _ => self.fallback.remark().or(reason),
        };
        Plan { source, all, count, demand, next, reason, remark }
    }

    /// So many were too slow: one less may be made, until it is tried again.
    fn drop_one(&mut self, count: usize) {
        self.slow.failed(Instant::now());
        let again_in_s = self.slow.again_at().map(|at| (at - Instant::now()).as_secs());
        warn!(
            stream.id = %self.broadcast.stream_id(), again_in_s,
            "renditions fall behind the stream: the most expensive one is dropped"
        );
        counter!("weir_ladder_dropped_total", "reason" => LadderReason::TooSlow.code()).increment(1);
        self.most = count.saturating_sub(1);
    }

    fn try_one_more(&mut self) {
        self.slow.tried(Instant::now());
        info!(stream.id = %self.broadcast.stream_id(), "a rendition that was too slow is tried again");
        counter!("weir_ladder_retried_total").increment(1);
        self.most = self.most.saturating_add(1);
    }

    fn forget_slowness(&mut self) {
        self.most = usize::MAX;
        self.slow = Backoff::new(&self.ladders.0.config.pace);
    }

    /// After ffmpeg has ended without a word; whether another encoder is there to be tried.
    fn fall_back(&mut self, error: &SessionError) -> bool {
        let encoder = self.fallback.encoder().name();
        if !self.fallback.take(Instant::now()) {
            return false;
        }
        warn!(
            stream.id = %self.broadcast.stream_id(), encoder, error = error as &dyn Error,
            "an encoder does not start: the processor takes over"
        );
        counter!("weir_ladder_fallbacks_total", "encoder" => encoder).increment(1);
        true
    }

    /// A feed and its first initialisation segment; `None` when the broadcast ends before.
    async fn begin(&self) -> Option<(Feed, Bytes)> {
        let mut feed = self.broadcast.feed();
        let init = next_init(&mut feed).await?;
        Some((feed, init))
    }

    /// Runs ffmpeg.
    async fn make(&mut self, plan: &Plan, cause: Cause, init: Bytes, feed: &mut Feed) -> End {
        let Plan { source, reason, remark, .. } = *plan;
        let rungs: Vec<_> = plan.all[..plan.count].iter().rev().cloned().collect();
        self.keep_only(&rungs);
        let stream_id = self.broadcast.stream_id();
        let renditions: Vec<_> = rungs.iter().map(|rung| rendition(rung, &source)).collect();
        let mut shown: Vec<_> = rungs.iter().map(|rung| shown(rung, &source)).collect();
        let session = Session {
            ladders: self.ladders,
            broadcast: self.broadcast,
            source,
            encoder: self.fallback.encoder(),
            rungs: &rungs,
            estimate: plan.demand.cost(plan.count),
        };
        let (ladders, reporter) = (self.ladders, &mut self.reporter);
        // Of these viewers have some already: they only pause.
        let before = ladders.status(stream_id).renditions;
        let is_kept = |name: &str| before.iter().any(|rendition| rendition.name == name);
        let mut is_reported = false;
        let look = |look: Look| {
            if look.are_all_there && !std::mem::replace(&mut is_reported, true) {
                report_start(reporter, &renditions, cause, reason);
            }
            for (rendition, lag_ms) in shown.iter_mut().zip(look.lags_ms) {
                rendition.lag_ms = lag_ms;
            }
            let there = shown.iter().filter(|rendition| is_reported || is_kept(&rendition.name));
            let renditions: Vec<_> = there.cloned().collect();
            let reason = if renditions.is_empty() { Some(LadderReason::Starting) } else { remark };
            ladders.set_status(stream_id, LadderStatus { renditions, reason });
        };
        let claim = self.lease.claim();
        let better = better(&mut self.fallback, &claim, self.broadcast, plan);
        session.run(init, feed, &mut self.lease, look, better).await
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

    fn make_none(&mut self, reason: Option<LadderReason>, remark: Option<LadderReason>) {
        let had_some = !self.made.is_empty();
        self.keep_only(&[]);
        let status = LadderStatus { renditions: Vec::new(), reason: remark };
        self.ladders.set_status(self.broadcast.stream_id(), status);
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
        self.make_none(Some(reason), Some(reason));
        // Others may have what it would take.
        self.lease.demand(Demand::default());
        tokio::select! {
            () = sleep(self.ladders.0.config.pace.retry_after) => {}
            () = self.broadcast.ended() => {}
        }
        Cause::Recovered
    }
}

/// Waits until what is made could be better.
async fn better(fallback: &mut Fallback<'_>, claim: &Claim, broadcast: &Broadcast, plan: &Plan) -> End {
    let room = async {
        loop {
            claim.ask();
            if let Some((at, demand)) = &plan.next
                && Instant::now() >= *at
                && claim.has_room_for(demand)
            {
                break;
            }
            sleep(LOOK_FOR_ROOM_EVERY).await;
        }
    };
    tokio::select! {
        () = fallback.is_over(broadcast, &plan.source, plan.all.first()) => End::EncoderWorks,
        () = room => End::OneMore,
    }
}

/// Says that renditions are there, unless it is known.
fn report_start(reporter: &mut Reporter, renditions: &[Rendition], cause: Cause, reason: Option<LadderReason>) {
    let reason = match (reason.and_then(LadderReason::reported), cause) {
        (Some(reason), _) => reason,
        // The same as before, after a moment without them: that is no news.
        (None, Cause::NewSource | Cause::Restarted | Cause::Retried) if reporter.has_reported(renditions) => return,
        (None, Cause::First | Cause::Restarted) => RenditionsReason::Started,
        (None, Cause::NewSource) => RenditionsReason::SourceChanged,
        (None, Cause::Regranted) => RenditionsReason::BudgetFreed,
        (None, Cause::Recovered | Cause::Retried) => RenditionsReason::Recovered,
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
