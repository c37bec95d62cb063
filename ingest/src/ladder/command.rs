//! The ffmpeg that makes the renditions of one stream: our fMP4 of the source on its stdin, an FLV out of a pipe for each
//! rendition.
//!
//! | option | why |
//! |---|---|
//! | `-copyts`, `-enc_time_base`, `-fps_mode passthrough` | each picture keeps its time on the broadcast's timeline, to the millisecond |
//! | `-force_key_frames source`, `-g 600`, `-sc_threshold 0` | key frames where the source has them and nowhere else, so that segments begin together |
//! | `-bf 0`, few threads | pictures come out in the order and nearly at the time at which they went in |
//! | `-c:a copy` | the sound is that of the source, without a second priming |
//! | `-probesize 32`, `-analyzeduration 0` | the `moov` says all there is to know: pictures come out after the first part. `-fflags nobuffer` would throw the first key frame away |
//! | `-flush_packets 1` | a small picture does not wait for others to fill a buffer |

use std::{ffi::OsString, io, io::PipeReader, os::fd::OwnedFd};

use command_fds::{CommandFdExt, FdMapping};
use ffmpeg_sidecar::command::FfmpegCommand;
use tokio::process::{Child, Command};

use super::{
    Encoder, LadderConfig, Rung,
    cost::{self, SourcePicture},
};
use crate::niceness::give_way;

/// The first descriptor after stdin, stdout and stderr.
const FIRST_DESCRIPTOR: i32 = 3;
/// Key frames come from the source; a source that has none for 20 s is refused before.
const KEY_FRAME_LIMIT: &str = "600";

/// A started ffmpeg; it ends when it is dropped.
pub(super) struct Running {
    pub child: Child,
    /// Of each rung, in their order.
    pub outputs: Vec<PipeReader>,
}

/// Starts ffmpeg for these rungs, with this encoder.
pub(super) fn start(
    config: &LadderConfig,
    encoder: &Encoder,
    source: &SourcePicture,
    rungs: &[Rung],
) -> io::Result<Running> {
    let program = config.ffmpeg.clone().unwrap_or_else(ffmpeg_sidecar::paths::ffmpeg_path);
    let mut ffmpeg = FfmpegCommand::new_with_path(program);
    ffmpeg.args(arguments(encoder, source, rungs));
    let mut command = std::process::Command::from(ffmpeg);
    let (mut outputs, mut mappings) = (Vec::new(), Vec::new());
    for child_fd in (FIRST_DESCRIPTOR..).take(rungs.len()) {
        let (reader, writer) = io::pipe()?;
        outputs.push(reader);
        mappings.push(FdMapping { parent_fd: OwnedFd::from(writer), child_fd });
    }
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    let mut command = Command::from(command);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn()?;
    give_way(&child);
    // Our ends of what the child writes to go with the command: only then do the pipes end with the child.
    Ok(Running { child, outputs })
}

/// What a rung's picture may have at most.
pub(super) fn most_kbps(rung: &Rung) -> u32 {
    rung.bitrate_kbps * 6 / 5
}

fn arguments(encoder: &Encoder, source: &SourcePicture, rungs: &[Rung]) -> Vec<OsString> {
    let mut arguments = Arguments::default();
    arguments.add("-hide_banner -nostats -loglevel error");
    if let Encoder::H264Vaapi { device } = encoder {
        arguments.add("-vaapi_device");
        arguments.0.push(device.into());
    }
    // More decoders than that only hold pictures back: each has one of its own under way.
    let decoders = if source.height > 1_088 { 4 } else { 2 };
    arguments.add(&format!("-threads {decoders} -probesize 32 -analyzeduration 0 -copyts -f mp4 -i pipe:0"));
    for (rung, descriptor) in rungs.iter().zip(FIRST_DESCRIPTOR..) {
        arguments.add("-map 0:v:0 -map 0:a:0? -c:a copy -vf");
        arguments.0.push(filters(encoder, source, rung).into());
        arguments.add_encoder(encoder, source, rung);
        let Rung { bitrate_kbps, .. } = rung;
        let (most_kbps, buffer_kbit) = (most_kbps(rung), bitrate_kbps * 3 / 2);
        arguments.add(&format!("-b:v {bitrate_kbps}k -maxrate {most_kbps}k -bufsize {buffer_kbit}k"));
        arguments.add(&format!("-bf 0 -g {KEY_FRAME_LIMIT} -sc_threshold 0 -force_key_frames source"));
        arguments.add("-fps_mode passthrough -enc_time_base 1:90000 -flvflags no_duration_filesize");
        arguments.add(&format!("-flush_packets 1 -f flv pipe:{descriptor}"));
    }
    arguments.0
}

/// Drops pictures where there are too many, never a key frame; then makes them smaller.
fn filters(encoder: &Encoder, source: &SourcePicture, rung: &Rung) -> String {
    let mut filters = String::new();
    // Where the stream does not say how many there are, there may be too many.
    if source.frame_rate < 1.0 || source.frame_rate > 1.1 * f64::from(rung.max_frame_rate) {
        let least_s = 0.9 / f64::from(rung.max_frame_rate.max(1));
        filters = format!("select='key+isnan(prev_selected_t)+gte(t-prev_selected_t,{least_s:.5})',");
    }
    filters.push_str(&format!("scale=-2:{}:flags=fast_bilinear", rung.height));
    if let Encoder::H264Vaapi { .. } = encoder {
        filters.push_str(",format=nv12,hwupload");
    }
    filters
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    /// Adds words without spaces in them.
    fn add(&mut self, words: &str) {
        self.0.extend(words.split_ascii_whitespace().map(OsString::from));
    }

    fn add_encoder(&mut self, encoder: &Encoder, source: &SourcePicture, rung: &Rung) {
        let preset = |usual| rung.preset.as_deref().unwrap_or(usual).to_owned();
        match encoder {
            Encoder::Libx264 => {
                let threads = if rung.height > 720 { 4 } else { 2 };
                let frame_rate = cost::frame_rate(rung, source);
                self.add("-c:v libx264 -preset");
                self.0.push(preset("superfast").into());
                self.add(&format!("-profile:v main -pix_fmt yuv420p -threads {threads} -x264-params"));
                // Without looking ahead there is nothing to wait for. The times are finer than frames, so the frame rate
                // that bits are shared out by has to be said.
                self.add(&format!("rc-lookahead=0:sync-lookahead=0:mbtree=0:force-cfr=1:fps={frame_rate:.3}"));
            }
            Encoder::H264Nvenc => {
                self.add("-c:v h264_nvenc -preset");
                self.0.push(preset("p4").into());
                self.add(
                    "-tune ll -rc vbr -profile:v main -pix_fmt yuv420p -forced-idr 1 -no-scenecut 1 -rc-lookahead 0",
                );
            }
            Encoder::H264Vaapi { .. } => self.add("-c:v h264_vaapi -profile:v main -rc_mode VBR"),
            Encoder::H264Qsv => {
                self.add("-c:v h264_qsv -preset");
                self.0.push(preset("veryfast").into());
                self.add("-profile:v main -pix_fmt nv12 -forced_idr 1 -async_depth 1 -look_ahead 0");
            }
            Encoder::Custom(arguments) => self.0.extend(arguments.iter().map(OsString::from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(encoder: &Encoder, frame_rate: f64, rungs: &[Rung]) -> String {
        let source = SourcePicture { width: 1920, height: 1080, frame_rate, is_rare: false };
        let arguments = arguments(encoder, &source, rungs);
        let words: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
        words.join(" ")
    }

    fn rungs() -> Vec<Rung> {
        LadderConfig::default().rungs.into_iter().filter(|rung| rung.height < 1080).collect()
    }

    #[test]
    fn each_rung_is_scaled_encoded_and_has_a_pipe_of_its_own() {
        let line = line(&Encoder::Libx264, 30.0, &rungs());
        for expected in [
            "-copyts -f mp4 -i pipe:0",
            "-vf scale=-2:720:flags=fast_bilinear -c:v libx264 -preset superfast",
            "-b:v 2500k -maxrate 3000k -bufsize 3750k",
            "-f flv pipe:3",
            "scale=-2:480:flags=fast_bilinear",
            "-f flv pipe:4",
        ] {
            assert!(line.contains(expected), "{expected}: {line}");
        }
        assert!(!line.contains("select="), "{line}");
    }

    #[test]
    fn what_is_too_fast_is_thinned_out_but_for_its_key_frames() {
        for frame_rate in [60.0, 0.0] {
            let line = line(&Encoder::Libx264, frame_rate, &rungs());
            assert!(
                line.contains("select='key+isnan(prev_selected_t)+gte(t-prev_selected_t,0.03000)',scale="),
                "{line}"
            );
            assert!(line.contains("fps=30.000"), "{line}");
        }
    }

    #[test]
    fn hardware_has_its_own_words() {
        let vaapi = Encoder::H264Vaapi { device: "/dev/dri/renderD128".into() };
        let line_of = |encoder| line(encoder, 30.0, &rungs());
        let line = line_of(&vaapi);
        assert!(line.contains("-vaapi_device /dev/dri/renderD128 "), "{line}");
        assert!(line.contains("format=nv12,hwupload -c:v h264_vaapi"), "{line}");
        assert!(line_of(&Encoder::H264Nvenc).contains("-c:v h264_nvenc -preset p4 -tune ll"));
        assert!(line_of(&Encoder::H264Qsv).contains("-c:v h264_qsv -preset veryfast"));
        let custom = Encoder::Custom(["-c:v", "libopenh264"].map(str::to_owned).to_vec());
        assert!(line_of(&custom).contains("fast_bilinear -c:v libopenh264 -b:v 2500k"));
    }
}
