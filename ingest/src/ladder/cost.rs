//! What renditions are expected to cost, before any of them runs.
//!
//! Measured on two cores (x86-64, ffmpeg 5.1.9), November 2026: 1080p30 to 720p and 480p took 0.45 of a core with superfast,
//! of which decoding 0.12; what is encoded there is 39.9 million pixels a second. Other presets by the same measurement of
//! 720p30 and 480p30 alone. Pictures differ: noise cost up to 1.6 times as much as a drawn test picture. What ffmpeg really
//! takes corrects the estimate, see [`Budget::measured`](super::budget::Budget::measured).

use super::{
    Encoder, Rung,
    budget::{Demand, Millicores},
};

/// Of decoding H.264, for a million pixels a second.
const DECODING: f64 = 2.0;
/// Of scaling and encoding with libx264's superfast, for a million encoded pixels a second.
const ENCODING: f64 = 8.4;
/// The same where the encoder is no software of the processor's: what is left is scaling and copying.
const UPLOADING: f64 = 1.5;
/// Assumed where the stream does not say.
pub(super) const USUAL_FRAME_RATE: f64 = 30.0;

/// The picture that renditions are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SourcePicture {
    pub width: u32,
    pub height: u32,
    /// Frames a second; 0 where it is not known.
    pub frame_rate: f64,
    /// Whether its codec is one that many players do not know: anything but H.264.
    pub is_rare: bool,
}

impl SourcePicture {
    pub(super) fn frame_rate(&self) -> f64 {
        if self.frame_rate >= 1.0 { self.frame_rate.min(240.0) } else { USUAL_FRAME_RATE }
    }

    /// The width of the picture at another height: even, as all codecs want it.
    pub(super) fn width_at(&self, height: u32) -> u32 {
        let (width, own_height) = (u64::from(self.width), u64::from(self.height.max(1)));
        let half = (width * u64::from(height) + own_height) / (2 * own_height);
        u32::try_from(half.max(1) * 2).unwrap_or(2)
    }
}

/// The frame rate of a rung made of this picture.
pub(super) fn frame_rate(rung: &Rung, source: &SourcePicture) -> f64 {
    source.frame_rate().min(f64::from(rung.max_frame_rate))
}

/// The demand of these rungs, in their order.
pub(super) fn demand(source: &SourcePicture, rungs: &[Rung], encoder: &Encoder) -> Demand {
    let decoding = million_pixels(source.width, source.height, source.frame_rate()) * DECODING;
    let renditions = rungs.iter().map(|rung| {
        let pixels = million_pixels(source.width_at(rung.height), rung.height, frame_rate(rung, source));
        let each = match encoder {
            Encoder::Libx264 => ENCODING * preset_factor(rung.preset.as_deref()),
            // A command of one's own may be anything; what it takes is measured.
            Encoder::H264Nvenc | Encoder::H264Vaapi { .. } | Encoder::H264Qsv | Encoder::Custom(_) => UPLOADING,
        };
        millicores(pixels * each)
    });
    Demand { means: encoder.into(), decoding: millicores(decoding), renditions: renditions.collect() }
}

fn million_pixels(width: u32, height: u32, frame_rate: f64) -> f64 {
    f64::from(width) * f64::from(height) * frame_rate / 1e6
}

fn millicores(value: f64) -> Millicores {
    // No stream comes near the limits of either type; the conversion saturates anyway.
    value.ceil().max(0.0) as Millicores
}

/// What a preset of libx264 costs, of what superfast costs.
fn preset_factor(preset: Option<&str>) -> f64 {
    match preset {
        Some("ultrafast") => 0.8,
        Some("veryfast") => 1.35,
        Some("faster") => 2.0,
        Some("fast") => 2.6,
        Some("medium") => 3.3,
        Some("slow") => 5.0,
        Some("slower") => 9.0,
        Some("veryslow" | "placebo") => 16.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::LadderConfig, *};

    fn full_hd() -> SourcePicture {
        SourcePicture { width: 1920, height: 1080, frame_rate: 30.0, is_rare: false }
    }

    #[test]
    fn two_cores_have_room_for_two_renditions_of_one_full_hd_stream() {
        let config = LadderConfig::default();
        let rungs = config.rungs_below(&full_hd());
        let names: Vec<_> = rungs.iter().map(|rung| rung.name.as_str()).collect();
        assert_eq!(names, ["480p", "720p"]);
        let demand = demand(&full_hd(), &rungs, &config.encoder);
        // As measured: 0.45 of a core.
        assert!((430..480).contains(&demand.cost(2)), "{demand:?}");
        let room = config.budget_of(2);
        assert!(demand.cost(2) <= room && demand.cost(2) + demand.cost(1) > room);
    }

    #[test]
    fn widths_are_even_and_keep_the_shape() {
        assert_eq!(full_hd().width_at(720), 1280);
        assert_eq!(full_hd().width_at(480), 854);
        let of = |width, height| SourcePicture { width, height, ..full_hd() };
        assert_eq!(of(608, 1080).width_at(480), 270);
        assert_eq!(of(2, 8_192).width_at(480), 2);
    }
}
