//! Packages a rendition beside the source: the same segments, by number and by time, of other pictures.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Broadcast, MAX_AAC_FRAME_BYTES, MAX_UNREADABLE_MESSAGES, MediaRefusal, Rendition, Tag, TagKind,
    cutter::{Configs, MAX_PICTURE_MS, Picture},
    epoch::Epoch,
    lane::Lane,
    rendition::Shown,
    schedule::Schedule,
    sound::TooLate,
    view::View,
    window::{Segment, Twin},
};
use crate::media::{
    aac::AacConfig,
    flv::{self, AudioTag, VideoTag},
    fragment::{AUDIO_TRACK, VIDEO_TIMESCALE},
    times::{self, Times},
    video::VideoConfig,
};

/// How far a picture may lie before the one it follows and still be put after it.
const MAX_BACKWARDS_MS: i64 = 500;
/// How far a picture may be from the source's and still be the same.
const TOLERANCE_MS: i64 = 16;
/// Sound that is further from the picture belongs to another epoch of the source. Under a picture that stays it goes on.
const MAX_SOUND_APART_MS: i64 = MAX_PICTURE_MS + 4_000;

/// How a rendition keeps up with its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How far its latest picture is behind the end of the source's latest part, in milliseconds of media; 0 before its
    /// first picture.
    pub behind_ms: u32,
    /// How often it came so late that the source's segments were gone, or left out a whole segment. Each time it began
    /// anew at a later one, and what it had before was forgotten.
    pub lost: u32,
}

/// Cuts what an encoder makes of the source into parts of a rendition.
///
/// Times of its messages are those of the broadcast's timeline, as a [`Feed`](super::Feed) has them, in milliseconds
/// whose upper bits are lost. It begins with the first key frame at which a segment of the source begins, and goes on
/// from segment to segment: with the source's numbers, times on the wall's clock, discontinuities and target durations.
/// Parts are its own. Its pictures are decoded when the source's are: see `packager/schedule.rs`.
#[derive(Debug)]
pub struct Follower {
    source: watch::Receiver<Shown>,
    lane: Lane,
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AacConfig>>,
    /// The number of the source's segment beside which we are.
    number: u64,
    schedule: Schedule,
    latest_ms: Option<i64>,
    lost: u32,
    unreadable_messages: u32,
    refusal: Option<MediaRefusal>,
}

impl Follower {
    /// A packager for a new encoder of this rendition. From here on it alone writes to the rendition: an earlier one is
    /// refused with [`MediaRefusal::Replaced`].
    #[must_use]
    pub fn new(broadcast: &Broadcast, rendition: Arc<Rendition>) -> Self {
        Self {
            source: broadcast.subscribe(),
            lane: Lane::new(rendition, broadcast.config().part_target_ms),
            video: None,
            audio: None,
            number: 0,
            schedule: Schedule::default(),
            latest_ms: None,
            lost: 0,
            unreadable_messages: 0,
            refusal: None,
        }
    }

    /// Takes one message in.
    ///
    /// # Errors
    ///
    /// A [`MediaRefusal`] after which the encoder should be stopped: what it sends cannot be packaged, or the rendition
    /// or its broadcast has ended. What was taken in before stays watchable; further messages are refused too.
    pub fn push(&mut self, tag: Tag) -> Result<(), MediaRefusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        if let Err(refusal) = self.take(tag) {
            self.finish();
            self.refusal = Some(refusal.clone());
            return Err(refusal);
        }
        Ok(())
    }

    /// The encoder has ended: what is held back is written out. Dropping a follower does the same. Unless the source
    /// begins anew too, another follower of this rendition begins with an empty playlist.
    pub fn finish(&mut self) {
        // A refusal here means that somebody else writes by now, or nobody may: then there is nothing to write out.
        let _ = self.break_off();
        self.refusal.get_or_insert(MediaRefusal::Ended);
    }

    /// How it keeps up with the source.
    #[must_use]
    pub fn lag(&self) -> Lag {
        let edge_ms = self.source.borrow().view.as_ref().map_or(0, |view| view.facts.edge_ms);
        let behind_ms = self.latest_ms.map_or(0, |latest_ms| edge_ms - latest_ms);
        Lag { behind_ms: u32::try_from(behind_ms.max(0)).unwrap_or(u32::MAX), lost: self.lost }
    }

    /// When its latest picture is shown, on the broadcast's timeline; `None` before the first.
    pub(crate) fn latest_ms(&self) -> Option<i64> {
        self.latest_ms
    }

    /// Whether the rendition is being written to: from the first segment that it has in common with the source.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.lane.is_running()
    }

    fn take(&mut self, tag: Tag) -> Result<(), MediaRefusal> {
        self.lane.check()?;
        // Before the source can be played there is nothing to follow.
        let view = self.source.borrow().view.clone();
        self.lane.timing = view.as_ref().map(|view| view.facts.timing);
        match tag.kind {
            TagKind::Video => match flv::read_video(&tag.body)? {
                VideoTag::Config { codec, record } => {
                    let config = VideoConfig::read(codec, record)?;
                    if self.video.as_deref() != Some(&config) {
                        self.video = Some(Arc::new(config));
                    }
                    Ok(())
                }
                VideoTag::Frame { is_key, composition_ms, data, .. } => {
                    let Some(view) = view else { return Ok(()) };
                    let time_ms = self.time(tag.timestamp_ms, &view);
                    self.take_picture(&view, time_ms, composition_ms, is_key, data)
                }
                VideoTag::Nothing => Ok(()),
            },
            TagKind::Audio => match flv::read_audio(&tag.body)? {
                AudioTag::Config(record) => {
                    let config = AacConfig::read(record)?;
                    if self.audio.as_deref() != Some(&config) {
                        self.audio = Some(Arc::new(config));
                    }
                    Ok(())
                }
                AudioTag::Frame(data) => {
                    let Some(view) = view else { return Ok(()) };
                    let time_ms = self.time(tag.timestamp_ms, &view);
                    self.take_sound(time_ms, data)
                }
                AudioTag::Nothing => Ok(()),
            },
        }
    }

    /// The time nearest to where we are, or to where the source is, that has these lower bits.
    fn time(&self, timestamp_ms: u32, view: &View) -> i64 {
        let near_ms = self.latest_ms.unwrap_or(view.facts.edge_ms);
        near_ms + i64::from(timestamp_ms.wrapping_sub(near_ms as u32) as i32)
    }

    fn take_picture(
        &mut self,
        view: &View,
        time_ms: i64,
        composition_ms: i32,
        is_flagged_key: bool,
        data: Bytes,
    ) -> Result<(), MediaRefusal> {
        let Some(video) = self.video.clone() else { return Ok(()) };
        let Some((picture, data)) = video.inspect(&data, is_flagged_key) else {
            return self.skip_unreadable("broken pictures");
        };
        self.unreadable_messages = 0;
        if !picture.has_slice {
            return Ok(());
        }
        self.latest_ms = Some(time_ms);
        let is_key = picture.is_key;
        let picture = Picture { time_ms, composition_ms: i64::from(composition_ms), is_key, data };
        let Some(epoch) = &self.lane.epoch else { return self.join(view, picture, &video) };
        let presents_ms = picture.presents_ms();
        self.schedule.read(view);
        // What the source does not have is decoded as long before it is shown as the first was.
        let decode_ms = self.schedule.decode_ms(presents_ms).unwrap_or(presents_ms - epoch.reorder_ms);
        let tolerance_ms = (epoch.usual_duration_ms() / 2).min(TOLERANCE_MS);
        let place = Place { presents_ms, decode_ms, tolerance_ms };
        let is_other = !epoch.shows(&video);
        let mut under: Vec<_> =
            segments_from(view, self.number + 1).take_while(|segment| place.has_reached(segment)).collect();
        let next = under.pop_if(|last| !lies_under(last));
        let number = next.or(under.last().copied()).map_or(self.number, |last| last.number);
        let begun = under.len() + usize::from(next.is_some());
        let is_beside = number == self.number + begun as u64
            && under.iter().all(|one| is_bare(one) || (next.is_none() && one.number == number));
        if !is_beside {
            // A whole segment of the source has no picture here, or those that we need are gone.
            return self.rejoin(view, picture, &video);
        }
        let is_new = next.is_some_and(|next| next.is_after_discontinuity || is_other);
        if let Some(last) = under.last() {
            self.stay_under(view, &under, if is_new { end_ms(last) } else { decode_ms })?;
        }
        match next {
            Some(next) => {
                let twin = twin(next);
                let sound_end = self.sound_end(view);
                if is_new {
                    if let Some(epoch) = &mut self.lane.epoch {
                        // Sound of after the break may have come already.
                        epoch.sound_ends = sound_end.map(|end| (i64::MIN, end));
                    }
                    self.lane.end_epoch()?;
                    return self.join(view, picture, &video);
                }
                // Pictures that lean on a key frame and are shown before it are decoded after it in the source, and before
                // it here.
                let decode_ms = if next.cut.is_key { next.cut.decode_ms } else { decode_ms };
                if let Some(epoch) = &mut self.lane.epoch {
                    epoch.sound_ends = sound_end.map(|end| (decode_ms, end));
                }
                self.append(picture.decoded_at(decode_ms))?;
                self.lane.end_segment()?;
                if let Some(epoch) = &mut self.lane.epoch {
                    epoch.sound_ends = None;
                    epoch.twin = Some(twin);
                }
                self.number = twin.number;
                Ok(())
            }
            None if view.segments().next().is_some_and(|oldest| oldest.number > self.number + 1) => {
                self.rejoin(view, picture, &video)
            }
            None => {
                let next = segments_from(view, self.number + 1).next().filter(|next| next.cut.is_key);
                let decode_ms = next.map_or(decode_ms, |next| decode_ms.min(next.cut.decode_ms - 1));
                let step_ms = decode_ms - self.lane.epoch.as_ref().map_or(decode_ms, Epoch::picture_ms);
                if !(-MAX_BACKWARDS_MS..=MAX_PICTURE_MS).contains(&step_ms) {
                    return self.rejoin(view, picture, &video);
                }
                if is_other {
                    // The picture has changed, and the source has not come to a new segment.
                    return Ok(());
                }
                self.append(picture.decoded_at(decode_ms))
            }
        }
    }

    /// Puts a picture after the one that is held, which goes into its part.
    fn append(&mut self, picture: Picture) -> Result<(), MediaRefusal> {
        let Some(epoch) = &mut self.lane.epoch else { return Ok(()) };
        let held = epoch.follow(picture)?;
        let decode_ms = held.decode_ms;
        match epoch.held.replace(held) {
            Some(previous) => {
                let duration_ms = decode_ms - previous.decode_ms;
                self.lane.place(previous, duration_ms, decode_ms)
            }
            // It was placed in the segment where it begins, and has stayed.
            None => self.lane.stay(decode_ms),
        }
    }

    /// Places the picture that is held, which stays until `ends_ms`, and goes on beside the source's segments under it.
    fn stay_under(&mut self, view: &View, under: &[&Segment], ends_ms: i64) -> Result<(), MediaRefusal> {
        let mut held = self.lane.epoch.as_mut().and_then(|epoch| epoch.held.take());
        for segment in under {
            let cut_ms = segment.cut.decode_ms;
            let sound_ends = self.sound_end(view).map(|end| (cut_ms, end));
            if let Some(epoch) = &mut self.lane.epoch {
                epoch.sound_ends = sound_ends;
            }
            match held.take() {
                Some(held) => {
                    let duration_ms = (ends_ms - held.decode_ms).max(1);
                    self.lane.place(held, duration_ms, cut_ms)?;
                }
                None => self.lane.stay(cut_ms)?,
            }
            self.lane.write_rest()?;
            self.lane.end_segment()?;
            if let Some(epoch) = &mut self.lane.epoch {
                epoch.sound_ends = None;
                epoch.twin = Some(twin(segment));
            }
            self.number = segment.number;
        }
        self.lane.stay(ends_ms)
    }

    /// Where the sound of the source's segment beside which we are ends, on the track's own clock.
    fn sound_end(&self, view: &View) -> Option<i64> {
        let sound = view.segment(self.number).and_then(|own| Times::read(&own.bytes, AUDIO_TRACK))?;
        i64::try_from(sound.decode + sound.duration).ok()
    }

    /// Begins with a key frame that begins a segment of the source; other pictures are dropped.
    fn join(&mut self, view: &View, picture: Picture, video: &Arc<VideoConfig>) -> Result<(), MediaRefusal> {
        if !picture.is_key {
            return Ok(());
        }
        let presents_ms = picture.presents_ms();
        let next = self.lane.rendition().next_segment();
        let segment = segments_from(view, next)
            .find(|segment| segment.cut.is_key && (segment.cut.presents_ms - presents_ms).abs() <= TOLERANCE_MS);
        let Some(segment) = segment else { return Ok(()) };
        self.schedule = Schedule::new(segment.parts.first().map_or(view.facts.next_part, |first| first.number));
        self.schedule.read(view);
        let _ = self.schedule.decode_ms(presents_ms);
        let picture = picture.decoded_at(segment.cut.decode_ms);
        let configs = Configs { video, audio: self.audio.as_ref(), is_audio_coming: self.audio.is_some() };
        let mut epoch = Epoch::new(picture.time_ms, segment.starts_at, picture, configs);
        epoch.twin = Some(twin(segment));
        if let Some(sound) = &mut epoch.sound {
            sound.align(segment.sound_phase);
        }
        self.lane.epoch = Some(epoch);
        self.number = segment.number;
        Ok(())
    }

    fn rejoin(&mut self, view: &View, picture: Picture, video: &Arc<VideoConfig>) -> Result<(), MediaRefusal> {
        self.lost += 1;
        self.break_off()?;
        self.join(view, picture, video)
    }

    /// Ends in the middle of a segment.
    fn break_off(&mut self) -> Result<(), MediaRefusal> {
        if self.lane.is_running() {
            self.lane.end_epoch()?;
            self.lane.tear()?;
        }
        Ok(())
    }

    fn take_sound(&mut self, time_ms: i64, data: Bytes) -> Result<(), MediaRefusal> {
        let (Some(audio), Some(epoch)) = (&self.audio, &mut self.lane.epoch) else { return Ok(()) };
        if data.is_empty() {
            return Ok(());
        }
        if data.len() > MAX_AAC_FRAME_BYTES {
            return self.skip_unreadable("AAC frames that are too long");
        }
        if (time_ms - epoch.picture_ms()).abs() > MAX_SOUND_APART_MS {
            // Of before or after a break of the source.
            return Ok(());
        }
        match epoch.push_sound(time_ms, audio, data) {
            Ok(()) => Ok(()),
            Err(TooLate) => {
                self.lost += 1;
                self.break_off()
            }
        }
    }

    fn skip_unreadable(&mut self, reason: &'static str) -> Result<(), MediaRefusal> {
        self.unreadable_messages += 1;
        if self.unreadable_messages > MAX_UNREADABLE_MESSAGES {
            return Err(MediaRefusal::MalformedMedia { reason });
        }
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Where a picture is, to be compared with the beginnings of the source's segments.
#[derive(Clone, Copy)]
struct Place {
    presents_ms: i64,
    /// When it is decoded in the source.
    decode_ms: i64,
    tolerance_ms: i64,
}

impl Place {
    fn has_reached(self, segment: &Segment) -> bool {
        match segment.cut.is_key {
            true => self.presents_ms + self.tolerance_ms >= segment.cut.presents_ms,
            // Of what is in between it is not known when it is shown.
            false => self.decode_ms >= segment.cut.decode_ms,
        }
    }
}

/// Whether a segment of the source begins under a picture that stays.
fn lies_under(segment: &Segment) -> bool {
    const TICKS_PER_MS: i64 = VIDEO_TIMESCALE as i64 / 1_000;
    let mut pictures = segment.parts.iter().flat_map(|part| times::pictures(&part.bytes));
    !segment.cut.is_key
        && !segment.is_after_discontinuity
        && pictures.next().is_none_or(|(decode, _)| decode > segment.cut.decode_ms * TICKS_PER_MS)
}

/// Whether it also ends there.
fn is_bare(segment: &Segment) -> bool {
    lies_under(segment) && segment.parts.iter().all(|part| times::pictures(&part.bytes).next().is_none())
}

/// Where a segment ends, in decode time.
fn end_ms(segment: &Segment) -> i64 {
    segment.cut.decode_ms + i64::from(segment.duration_ms)
}

/// The source's segments with this number and higher ones, as far as they are kept.
fn segments_from(view: &View, number: u64) -> impl Iterator<Item = &Segment> {
    view.segments().skip_while(move |segment| segment.number < number)
}

fn twin(segment: &Segment) -> Twin {
    Twin {
        number: segment.number,
        starts_at: segment.starts_at,
        discontinuity: segment.discontinuity,
        is_after_discontinuity: segment.is_after_discontinuity,
    }
}
