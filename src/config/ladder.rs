//! Settings of the ladder: which smaller sizes are made of streams, with what, and of how much of the machine.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use ingest::{Encoder, LadderConfig, Rung};
use serde::{Deserialize, Serialize};

use super::within;

/// What may be set; in `weir.toml` it is the table `[ladder]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LadderSettings {
    /// Whether smaller sizes are made of streams [default: true]
    #[arg(
        id = "ladder_enabled",
        long = "ladder-enabled",
        env = "WEIR_LADDER_ENABLED",
        global = true,
        value_name = "BOOL"
    )]
    enabled: Option<bool>,
    /// Which sizes: NAME:HEIGHT:FPS:KBPS or NAME:HEIGHT:FPS:KBPS:PRESET, with commas between; what is not below a stream's
    /// own height is not made of it [default: 1080p:1080:60:5000,720p:720:30:2500,480p:480:30:1000]
    #[arg(id = "ladder_rungs", long = "ladder-rungs", env = "WEIR_LADDER_RUNGS", global = true, value_name = "RUNGS")]
    rungs: Option<Rungs>,
    /// What encodes them [default: libx264]
    #[arg(id = "ladder_encoder", long = "ladder-encoder", env = "WEIR_LADDER_ENCODER", global = true)]
    encoder: Option<EncoderKind>,
    /// ffmpeg's arguments for an encoder of your own, with `custom`: `-c:v h264_amf -usage lowlatency` for example
    #[arg(
        id = "ladder_encoder_args",
        long = "ladder-encoder-args",
        env = "WEIR_LADDER_ENCODER_ARGS",
        global = true,
        value_name = "ARGUMENTS",
        allow_hyphen_values = true
    )]
    encoder_args: Option<String>,
    /// The render node, for h264_vaapi [default: /dev/dri/renderD128]
    #[arg(
        id = "ladder_device",
        long = "ladder-device",
        env = "WEIR_LADDER_DEVICE",
        global = true,
        value_name = "FILE"
    )]
    device: Option<PathBuf>,
    /// How much of all processor cores they may take together, in per cent, 0 to 100 [default: 30]
    #[arg(
        id = "ladder_cpu_percent",
        long = "ladder-cpu-percent",
        env = "WEIR_LADDER_CPU_PERCENT",
        global = true,
        value_name = "PERCENT"
    )]
    cpu_percent: Option<u32>,
    /// The program that makes them [default: ffmpeg of the search path]
    #[arg(
        id = "ladder_ffmpeg",
        long = "ladder-ffmpeg",
        env = "WEIR_LADDER_FFMPEG",
        global = true,
        value_name = "FILE"
    )]
    ffmpeg: Option<PathBuf>,
}

/// What encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum EncoderKind {
    /// The processor.
    Libx264,
    /// NVIDIA's NVENC.
    H264Nvenc,
    /// VA-API, of Intel and AMD.
    H264Vaapi,
    /// Intel's Quick Sync.
    H264Qsv,
    /// What the arguments of `ladder-encoder-args` choose.
    Custom,
}

/// The effective settings.
#[derive(Debug, Clone, Serialize)]
pub struct Ladder {
    /// Whether any are made.
    pub enabled: bool,
    /// What encodes.
    pub encoder: EncoderKind,
    /// With `custom`.
    pub encoder_args: String,
    /// For `h264_vaapi`.
    pub device: PathBuf,
    /// 0 to 100.
    pub cpu_percent: u32,
    /// `None`: `ffmpeg` of the search path.
    pub ffmpeg: Option<PathBuf>,
    /// Eight at most, with names of their own.
    pub rungs: Vec<RungSettings>,
}

/// One size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RungSettings {
    /// Also a folder in the addresses.
    pub name: String,
    /// In pixels.
    pub height: u32,
    /// Frames a second beyond which some are left out.
    pub max_fps: u32,
    /// Of the picture, on average.
    pub video_kbps: u32,
    /// The encoder's preset; `None`: its usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
struct Rungs(Vec<RungSettings>);

impl FromStr for Rungs {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let rung = |text: &str| {
            let fields: Vec<_> = text.trim().split(':').collect();
            let number = |text: &str, what: &str| {
                text.parse().with_context(|| format!("{what} of a rung must be a whole number, not “{text}”"))
            };
            let (&[name, height, max_fps, video_kbps] | &[name, height, max_fps, video_kbps, _]) = fields.as_slice()
            else {
                bail!("a rung is written NAME:HEIGHT:FPS:KBPS or NAME:HEIGHT:FPS:KBPS:PRESET, not “{text}”");
            };
            Ok(RungSettings {
                name: name.to_owned(),
                height: number(height, "the height")?,
                max_fps: number(max_fps, "the frame rate")?,
                video_kbps: number(video_kbps, "the bit rate")?,
                preset: fields.get(4).map(|&preset| preset.to_owned()),
            })
        };
        text.split(',').map(rung).collect::<anyhow::Result<_>>().map(Self)
    }
}

impl LadderSettings {
    /// Adds what the file says and the defaults, and checks the lot.
    pub(super) fn resolve(self, file: Self) -> anyhow::Result<Ladder> {
        let defaults = LadderConfig::default();
        let rungs = match self.rungs.or(file.rungs) {
            Some(Rungs(rungs)) => rungs,
            None => defaults.rungs.into_iter().map(RungSettings::from).collect(),
        };
        check(&rungs)?;
        let encoder = self.encoder.or(file.encoder).unwrap_or(EncoderKind::Libx264);
        let encoder_args = self.encoder_args.or(file.encoder_args).unwrap_or_default();
        ensure!(
            (encoder == EncoderKind::Custom) != encoder_args.trim().is_empty(),
            "ladder.encoder_args belongs to ladder.encoder = \"custom\": set both or neither"
        );
        let ffmpeg = self.ffmpeg.or(file.ffmpeg);
        if let Some(ffmpeg) = &ffmpeg {
            ensure!(!ffmpeg.as_os_str().is_empty(), "ladder.ffmpeg must be the path of a program");
        }
        Ok(Ladder {
            enabled: self.enabled.or(file.enabled).unwrap_or(defaults.is_enabled),
            encoder,
            encoder_args,
            device: self.device.or(file.device).unwrap_or_else(|| "/dev/dri/renderD128".into()),
            cpu_percent: within(
                "ladder.cpu_percent",
                self.cpu_percent.or(file.cpu_percent).unwrap_or(defaults.cpu_percent),
                (0, 100),
            )?,
            ffmpeg,
            rungs,
        })
    }
}

fn check(rungs: &[RungSettings]) -> anyhow::Result<()> {
    const MOST_RUNGS: usize = 8;
    ensure!(
        (1..=MOST_RUNGS).contains(&rungs.len()),
        "ladder.rungs has {} rungs; it must have 1 to {MOST_RUNGS}, and ladder.enabled = false makes none",
        rungs.len()
    );
    for (place, rung) in rungs.iter().enumerate() {
        let name = rung.name.as_str();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        ensure!(
            (1..=16).contains(&name.len()) && name.bytes().all(is_plain) && !["source", "audio"].contains(&name),
            "a rung of ladder.rungs is named “{name}”; it must be 1 to 16 lower-case letters and digits, and neither source nor audio"
        );
        ensure!(!rungs[..place].iter().any(|other| other.name == name), "ladder.rungs has two rungs named {name}");
        within(&format!("the height of the rung {name}"), rung.height, (64, 4_320))?;
        ensure!(rung.height % 2 == 0, "the height of the rung {name} is {}; it must be even", rung.height);
        within(&format!("the frame rate of the rung {name}"), rung.max_fps, (1, 240))?;
        within(&format!("the bit rate of the rung {name}"), rung.video_kbps, (50, 80_000))?;
    }
    Ok(())
}

impl Ladder {
    /// As the media plane wants it.
    pub fn config(&self) -> LadderConfig {
        LadderConfig {
            is_enabled: self.enabled,
            rungs: self.rungs.iter().cloned().map(Rung::from).collect(),
            encoder: match self.encoder {
                EncoderKind::Libx264 => Encoder::Libx264,
                EncoderKind::H264Nvenc => Encoder::H264Nvenc,
                EncoderKind::H264Vaapi => Encoder::H264Vaapi { device: self.device.clone() },
                EncoderKind::H264Qsv => Encoder::H264Qsv,
                EncoderKind::Custom => {
                    Encoder::Custom(self.encoder_args.split_ascii_whitespace().map(str::to_owned).collect())
                }
            },
            cpu_percent: self.cpu_percent,
            ffmpeg: self.ffmpeg.clone(),
            ..LadderConfig::default()
        }
    }
}

impl From<Rung> for RungSettings {
    fn from(rung: Rung) -> Self {
        let Rung { name, height, max_frame_rate, bitrate_kbps, preset } = rung;
        Self { name, height, max_fps: max_frame_rate, video_kbps: bitrate_kbps, preset }
    }
}

impl From<RungSettings> for Rung {
    fn from(rung: RungSettings) -> Self {
        let RungSettings { name, height, max_fps, video_kbps, preset } = rung;
        Self { name, height, max_frame_rate: max_fps, bitrate_kbps: video_kbps, preset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> anyhow::Result<Ladder> {
        LadderSettings::default().resolve(toml::from_str(text)?)
    }

    #[test]
    fn what_is_not_said_is_as_the_media_plane_has_it() {
        assert_eq!(file("").unwrap().config(), LadderConfig::default());
    }

    #[test]
    fn rungs_are_written_in_two_ways() {
        let written = file(
            "encoder = \"h264_vaapi\"\n[[rungs]]\nname = \"360p\"\nheight = 360\nmax_fps = 25\nvideo_kbps = 600\npreset = \"faster\"",
        );
        let config = written.unwrap().config();
        let flags = LadderSettings { rungs: Some("360p:360:25:600:faster".parse().unwrap()), ..Default::default() };
        assert_eq!(flags.resolve(LadderSettings::default()).unwrap().config().rungs, config.rungs);
        assert_eq!(config.encoder, Encoder::H264Vaapi { device: "/dev/dri/renderD128".into() });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("cpu_percent = 101", "ladder.cpu_percent is 101; it must be 0 to 100"),
            ("rungs = []", "it must have 1 to 8"),
            ("encoder = \"custom\"", "set both or neither"),
            ("encoder_args = \"-c:v x\"", "set both or neither"),
            ("encoder = \"av1\"", "unknown variant"),
            ("sizes = 1", "unknown field"),
        ] {
            let error = format!("{:#}", file(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        for (text, expected) in [
            ("720p:720:30", "a rung is written"),
            ("720p:high:30:2500", "the height of a rung must be a whole number"),
            ("source:720:30:2500", "neither source nor audio"),
            ("720P:720:30:2500", "lower-case letters"),
            ("a:720:30:2500,a:480:30:1000", "two rungs named a"),
            ("a:481:30:2500", "it must be even"),
            ("a:480:0:2500", "the frame rate of the rung a is 0; it must be 1 to 240"),
            ("a:480:30:1", "the bit rate of the rung a is 1"),
        ] {
            let resolved = text.parse().and_then(|rungs| {
                LadderSettings { rungs: Some(rungs), ..Default::default() }.resolve(LadderSettings::default())
            });
            let error = format!("{:#}", resolved.unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
