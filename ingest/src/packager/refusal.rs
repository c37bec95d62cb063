//! Why an encoder is sent away, in words that its user can act on.

/// Media that cannot be broadcast. The text is for the streamer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaRefusal {
    /// The picture is in a codec that is not known here.
    #[error("{codec} is not supported yet: choose H.264 (x264 in OBS) or AV1 as the video encoder")]
    VideoCodecUnsupported {
        /// The codec's name, or its FourCC where it is unknown.
        codec: String,
    },
    /// HEVC where nobody makes anything else of it.
    #[error(
        "Most browsers cannot play HEVC, and this server makes no other quality of it: choose H.264 (x264 in OBS) or AV1 \
         as the video encoder"
    )]
    HevcNotTranscoded,
    /// A picture that browsers do not play, whatever its codec.
    #[error(
        "Browsers cannot play a picture with {format}: choose 8 bit 4:2:0 (NV12 in OBS, -pix_fmt yuv420p in ffmpeg)"
    )]
    VideoFormatUnsupported {
        /// What it has, `10 bits` or `4:4:4` for example.
        format: String,
    },
    /// The sound is not AAC.
    #[error("{codec} is not supported yet: choose AAC as the audio encoder")]
    AudioCodecUnsupported {
        /// The codec's name, or its FourCC where it is unknown.
        codec: String,
    },
    /// An AAC profile or channel layout that browsers do not play.
    #[error("AAC with {format} is not supported: choose AAC-LC, mono or stereo")]
    AudioFormatUnsupported {
        /// What it has.
        format: String,
    },
    /// The configuration of the picture cannot be read.
    #[error(
        "The configuration of the picture that the encoder sent is malformed ({reason}): restart the stream, or choose another encoder"
    )]
    MalformedVideoConfig {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The AAC configuration cannot be read.
    #[error(
        "The AAC configuration that the encoder sent is malformed ({reason}): restart the stream, or choose another encoder"
    )]
    MalformedAudioConfig {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Picture or sound messages that cannot be read.
    #[error("The encoder sends media that cannot be read ({reason}): restart the stream, or choose another encoder")]
    MalformedMedia {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A picture that was announced has not come, or sound that cannot be broadcast alone.
    #[error("The picture that was announced has not arrived: check that the encoder sends it, then start again")]
    NoVideo,
    /// Picture without a key frame.
    #[error("No key frame has arrived: set the key-frame interval to 2 s")]
    NoKeyFrame,
    /// No picture has come for longer than one may stay: the video encoder has stopped, or sends pictures only when something
    /// changes.
    #[error(
        "No picture has come for {} s: set the encoder to a constant frame rate, so that it sends pictures while nothing \
         changes, then start again",
        super::cutter::MAX_PICTURE_MS / 1_000
    )]
    VideoStopped,
    /// Timestamps that make no sense, again and again.
    #[error("The encoder's timestamps jump or stand still: restart the stream, or choose another encoder")]
    ErraticTimestamps,
    /// More than a broadcast may take.
    #[error("The bit rate is too high: set it to at most {max_mbps} Mbit/s")]
    BitrateTooHigh {
        /// What may be sent.
        max_mbps: u32,
    },
    /// A file that is sent as fast as the line allows.
    #[error("The media comes faster than it plays: send it in real time (-re in ffmpeg)")]
    FasterThanRealTime,
    /// Another connection of the same encoder has taken over.
    #[error("Another connection has taken over this stream")]
    Replaced,
    /// The broadcast has ended.
    #[error("This stream has ended")]
    Ended,
}

impl MediaRefusal {
    /// A stable name for programs and translations.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::VideoCodecUnsupported { .. } => "video_codec_unsupported",
            Self::HevcNotTranscoded => "hevc_not_transcoded",
            Self::VideoFormatUnsupported { .. } => "video_format_unsupported",
            Self::AudioCodecUnsupported { .. } => "audio_codec_unsupported",
            Self::AudioFormatUnsupported { .. } => "audio_format_unsupported",
            Self::MalformedVideoConfig { .. } => "malformed_video_config",
            Self::MalformedAudioConfig { .. } => "malformed_audio_config",
            Self::MalformedMedia { .. } => "malformed_media",
            Self::NoVideo => "no_video",
            Self::NoKeyFrame => "no_key_frame",
            Self::VideoStopped => "video_stopped",
            Self::ErraticTimestamps => "erratic_timestamps",
            Self::BitrateTooHigh { .. } => "bitrate_too_high",
            Self::FasterThanRealTime => "faster_than_real_time",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
        }
    }
}
