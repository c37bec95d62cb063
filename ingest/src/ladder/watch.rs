//! Whether an ffmpeg works and keeps up.
//!
//! | what is seen | for so long | it is taken for |
//! |---|---|---|
//! | a rendition is late, and is being written | `late_for` | too slow |
//! | no picture is written, though there is more to write than may be under way; while the source goes on | `silent_for` | hung |
//! | neither is a picture written nor read what is there to be read, once it has begun | `silent_for` | hung |
//! | a signal has stopped it, or it is in a driver and no signal gets it out of there | `silent_for` | hung |
//!
//! A source that is quiet makes nobody slow and nobody hung: what is held back until more comes may be more than is expected
//! here, as of encoders that look ahead. Who hangs meanwhile is seen by what it does not read, or by being stopped.
//!
//! What is counted is the time between looks, and of each no more than [`LONGEST_STEP`]: where all stood still, as on a machine
//! that slept, nobody was slow.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    LadderPace,
    newest::Newest,
    process::State,
    session::{End, SessionError},
};
use crate::packager::View;

/// A rendition is silent when it has nothing new although it should be this much further: more than comes at once.
const HELD_BACK_MS: u32 = 1_500;
/// A look counts for so long at most: twice the usual time between two.
const LONGEST_STEP: Duration = Duration::from_secs(1);
/// The source goes on for so long after a picture has come of it. Where pictures are rarer a hang is seen later.
const GOING_ON: Duration = Duration::from_secs(1);
/// A rendition is being written for so long after one of its pictures was.
const WRITING: Duration = Duration::from_secs(2);

/// What an ffmpeg has done until now.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// Of each rendition.
    pub made: Vec<Made>,
    /// Of what it was fed, in bytes.
    pub read_bytes: u64,
    /// What is there to be read, in bytes.
    pub unread_bytes: u64,
    pub state: State,
}

/// How far a rendition has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Messages with its picture; the first says what the others are, and has none.
    pub messages: u64,
    /// When its latest picture is shown, on the broadcast's timeline; `None` before the first.
    pub latest_ms: Option<i64>,
}

/// What is seen of a rendition.
#[derive(Debug, Default)]
struct Track {
    messages: u64,
    lag_ms: u32,
    /// Since something was written.
    silent: Duration,
    /// So much of that it had more to write, while the source went on.
    owing: Duration,
}

#[derive(Debug)]
pub(super) struct Watch<'a> {
    pace: &'a LadderPace,
    looked_at: Instant,
    /// What may be under way.
    newest: Newest,
    /// Since a picture of the source has come.
    quiet: Duration,
    tracks: Vec<Track>,
    late: Duration,
    read_bytes: u64,
    /// How long it has had something to do and done nothing.
    stuck: Duration,
}

impl<'a> Watch<'a> {
    /// Of an ffmpeg that begins now.
    pub(super) fn new(pace: &'a LadderPace, tracks: usize, now: Instant) -> Self {
        Self {
            pace,
            looked_at: now,
            newest: Newest::default(),
            quiet: Duration::ZERO,
            tracks: (0..tracks).map(|_| Track::default()).collect(),
            late: Duration::ZERO,
            read_bytes: 0,
            stuck: Duration::ZERO,
        }
    }

    /// Takes in what has come and was done since the last look; whether that is a reason to stop.
    pub(super) fn look(&mut self, now: Instant, source: Option<&View>, done: &Done) -> Option<End> {
        let has_come = source.is_some_and(|source| self.newest.read(source));
        self.judge(now, has_come, done)
    }

    /// How far each rendition is behind what it should have by now, as seen at the last look: pictures that may be under way
    /// are not late, however rare they are.
    pub(super) fn lags_ms(&self) -> Vec<u32> {
        self.tracks.iter().map(|track| track.lag_ms).collect()
    }

    fn judge(&mut self, now: Instant, has_come: bool, done: &Done) -> Option<End> {
        let step = (now - std::mem::replace(&mut self.looked_at, now)).min(LONGEST_STEP);
        let has_gone_on = self.quiet < GOING_ON;
        self.quiet = if has_come { Duration::ZERO } else { self.quiet + step };
        let max_lag_ms = u32::try_from(self.pace.max_lag.as_millis()).unwrap_or(u32::MAX);
        let (mut has_written, mut is_late, mut is_late_and_writing) = (false, false, false);
        for (track, made) in self.tracks.iter_mut().zip(&done.made) {
            track.lag_ms = made.latest_ms.map_or(0, |latest_ms| self.newest.late_ms(latest_ms));
            let is_written = std::mem::replace(&mut track.messages, made.messages) != made.messages;
            has_written |= is_written;
            track.silent = if is_written { Duration::ZERO } else { track.silent + step };
            let has_more_to_write = match made.latest_ms {
                None => self.newest.are_many(),
                Some(_) => track.lag_ms > HELD_BACK_MS,
            };
            if is_written || !has_more_to_write {
                track.owing = Duration::ZERO;
            } else if has_gone_on {
                track.owing += step;
            }
            is_late |= track.lag_ms > max_lag_ms;
            is_late_and_writing |= track.lag_ms > max_lag_ms && track.silent < WRITING;
        }

        let has_read = std::mem::replace(&mut self.read_bytes, done.read_bytes) != done.read_bytes;
        // Until then it is being loaded.
        let has_begun = self.tracks.iter().any(|track| track.messages > 0);
        let has_to_do = match done.state {
            State::Stopped => true,
            State::Uninterruptible => has_begun,
            State::Other => has_begun && done.unread_bytes > 0,
        };
        self.stuck = if has_to_do && !has_read && !has_written { self.stuck + step } else { Duration::ZERO };
        if self.stuck > self.pace.silent_for {
            return Some(End::Failed(match done.state {
                State::Stopped => SessionError::Stopped(self.stuck),
                State::Uninterruptible | State::Other => SessionError::Silent(self.stuck),
            }));
        }
        if let Some(hung) = self.tracks.iter().find(|track| track.owing > self.pace.silent_for) {
            return Some(End::Failed(SessionError::Silent(hung.silent)));
        }
        match (is_late, is_late_and_writing) {
            (false, _) => self.late = Duration::ZERO,
            (true, true) => self.late += step,
            // Perhaps it hangs.
            (true, false) => {}
        }
        (self.late > self.pace.late_for).then_some(End::TooSlow)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    const LOOK_EVERY: Duration = Duration::from_millis(500);
    const PICTURE_MS: i64 = 33;
    /// So many come from one look to the next.
    const PICTURES: i64 = 15;
    const HOUR: u32 = 7_200;

    struct Bench<'a> {
        watch: Watch<'a>,
        now: Instant,
        /// When the source's latest picture is shown.
        source_ms: i64,
        done: Done,
    }

    impl<'a> Bench<'a> {
        fn new(pace: &'a LadderPace) -> Self {
            let now = Instant::now();
            let done = Done { made: vec![Made::default()], read_bytes: 0, unread_bytes: 0, state: State::Other };
            Self { watch: Watch::new(pace, 1, now), now, source_ms: 0, done }
        }

        /// One that has read all that it was fed and written all but so many pictures, for ten seconds.
        fn running(pace: &'a LadderPace, under_way: i64) -> Self {
            let mut bench = Self::new(pace);
            for look in 0..20 {
                assert!(bench.look(PICTURES).is_none(), "{look}");
                bench.reads();
                bench.writes(under_way);
            }
            bench
        }

        fn reads(&mut self) {
            self.done.read_bytes += 1_000;
        }

        fn writes(&mut self, under_way: i64) {
            let made = &mut self.done.made[0];
            *made = Made { messages: made.messages + 1, latest_ms: Some(self.source_ms - under_way * PICTURE_MS) };
        }

        /// A look after so many pictures of the source have come.
        fn look(&mut self, pictures: i64) -> Option<End> {
            self.now += LOOK_EVERY;
            let last_ms = self.source_ms;
            self.watch.newest.take((1..=pictures).map(|picture| last_ms + picture * PICTURE_MS));
            self.source_ms += pictures * PICTURE_MS;
            self.watch.judge(self.now, pictures > 0, &self.done)
        }

        /// The verdict on what goes on like this, and after how long it is given.
        fn verdict(&mut self, pictures: i64, mut does: impl FnMut(&mut Self)) -> (End, Duration) {
            let begin = self.now;
            loop {
                if let Some(end) = self.look(pictures) {
                    return (end, self.now - begin);
                }
                does(self);
                assert!(self.now - begin < HOUR * LOOK_EVERY, "no verdict");
            }
        }

        fn assert_none(&mut self, looks: u32, pictures: i64, mut does: impl FnMut(&mut Self, u32)) {
            for look in 0..looks {
                let end = self.look(pictures);
                assert!(end.is_none(), "look {look}: {end:?}");
                does(self, look);
            }
        }
    }

    const PATIENCE: Range<Duration> = Duration::from_secs(10)..Duration::from_secs(13);

    fn assert_hung((end, after): (End, Duration)) {
        assert!(matches!(end, End::Failed(SessionError::Silent(_))), "{end:?}");
        assert!(PATIENCE.contains(&after), "{after:?}");
    }

    #[test]
    fn a_source_that_is_quiet_makes_nobody_hung() {
        let pace = LadderPace::default();
        // Few, and what an encoder that looks ahead for two seconds holds back.
        for under_way in [0, 4, 60] {
            let mut bench = Bench::running(&pace, under_way);
            bench.assert_none(HOUR, 0, |_, _| {});
            bench.assert_none(10, PICTURES, |bench, _| bench.reads());
            bench.assert_none(HOUR, PICTURES, |bench, _| {
                bench.reads();
                bench.writes(under_way);
            });
        }
    }

    #[test]
    fn a_source_that_is_quiet_before_the_first_picture_is_waited_for() {
        let pace = LadderPace::default();
        let mut bench = Bench::new(&pace);
        bench.assert_none(2, PICTURES, |bench, _| bench.reads());
        bench.assert_none(HOUR, 0, |_, _| {});
        // It says what its pictures will be, and holds them back.
        bench.done.made[0].messages = 1;
        bench.assert_none(HOUR, 0, |_, _| {});
        assert_hung(bench.verdict(PICTURES, Bench::reads));
        let mut bench = Bench::new(&pace);
        assert_hung(bench.verdict(PICTURES, |_| {}));
    }

    #[test]
    fn one_that_hangs_is_not_called_slow() {
        let pace = LadderPace::default();
        // What encodes has a thread of its own, or not.
        let mut bench = Bench::running(&pace, 4);
        assert_hung(bench.verdict(PICTURES, Bench::reads));
        let mut bench = Bench::running(&pace, 4);
        bench.done.unread_bytes = 1;
        assert_hung(bench.verdict(PICTURES, |_| {}));
    }

    #[test]
    fn one_that_writes_and_is_late_is_slow() {
        let pace = LadderPace::default();
        let mut bench = Bench::running(&pace, 4);
        let mut under_way = 4;
        let (end, after) = bench.verdict(PICTURES, |bench| {
            under_way += PICTURES / 2;
            bench.reads();
            bench.writes(under_way);
        });
        assert!(matches!(end, End::TooSlow), "{end:?}");
        assert!(after > pace.late_for, "{after:?}");
        // What has caught up in between is not.
        let mut bench = Bench::running(&pace, 4);
        bench.assert_none(HOUR, PICTURES, |bench, look| {
            bench.reads();
            bench.writes(if look % 10 == 0 { 4 } else { 200 });
        });
    }

    #[test]
    fn what_is_not_read_tells_while_the_source_is_quiet() {
        let pace = LadderPace::default();
        let mut bench = Bench::running(&pace, 4);
        bench.done.unread_bytes = 1;
        assert_hung(bench.verdict(0, |_| {}));
        // A little now and then is slow, but no hang.
        let does: [fn(&mut Bench<'_>); 2] = [|bench| bench.reads(), |bench| bench.writes(4)];
        for does in does {
            let mut bench = Bench::running(&pace, 4);
            bench.done.unread_bytes = 1;
            bench.assert_none(HOUR, 0, |bench, look| {
                if look % 19 == 0 {
                    does(bench);
                }
            });
        }
        // It is being loaded.
        let mut bench = Bench::new(&pace);
        bench.done.unread_bytes = 1;
        bench.assert_none(HOUR, 0, |_, _| {});
    }

    #[test]
    fn one_that_is_stopped_or_in_a_driver_is_hung_while_the_source_is_quiet() {
        let pace = LadderPace::default();
        let mut bench = Bench::running(&pace, 4);
        bench.done.state = State::Uninterruptible;
        assert_hung(bench.verdict(0, |_| {}));
        for mut bench in [Bench::running(&pace, 4), Bench::new(&pace)] {
            bench.done.state = State::Stopped;
            let (end, after) = bench.verdict(0, |_| {});
            assert!(matches!(end, End::Failed(SessionError::Stopped(_))), "{end:?}");
            assert!(PATIENCE.contains(&after), "{after:?}");
        }
        let mut bench = Bench::running(&pace, 4);
        bench.assert_none(HOUR, 0, |bench, look| {
            bench.done.state = if look % 20 == 0 { State::Other } else { State::Stopped };
        });
    }

    #[test]
    fn where_all_stood_still_nobody_is_slow_or_hung() {
        let pace = LadderPace::default();
        let mut bench = Bench::running(&pace, 4);
        bench.done.unread_bytes = 1;
        for _ in 0..5 {
            bench.now += HOUR * LOOK_EVERY;
            assert!(bench.look(PICTURES).is_none());
        }
    }

    #[test]
    fn pictures_that_may_be_under_way_are_not_late_however_rare_they_are() {
        let pace = LadderPace::default();
        let mut bench = Bench::new(&pace);
        bench.watch.newest.take((0..20).map(|picture| picture * 3_000));
        for (latest_ms, lag_ms) in [(57_000, 0), (33_000, 0), (27_000, 6_000)] {
            bench.done.made[0].latest_ms = Some(latest_ms);
            let _ = bench.look(0);
            assert_eq!(bench.watch.lags_ms(), [lag_ms], "{latest_ms}");
        }
        bench.done.made[0].latest_ms = None;
        let _ = bench.look(0);
        assert_eq!(bench.watch.lags_ms(), [0]);
    }
}
