//! The kinds of addresses that media is served at, each by a name: what is promised of all of them is tested of all of them.
//!
//! Whoever adds an address says here what kind it is, since the matches below name each; a new kind is in [`Kind::ALL`] by
//! itself, and the tests of rights fail until they ask for one of it (`ingest/tests/edge/kinds.rs`, `ingest/tests/cdn.rs`,
//! `tests/e2e/revocation.rs`).

use super::{
    address::{Address, MediaFile},
    recordings::{self, Wanted},
    rights::Service,
};

/// Who gets what is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever asks: it shows nothing of anybody.
    Everybody,
    /// Who may watch the channel, or have the recording.
    Viewers,
    /// Relays of ours.
    Relays,
}

/// The variants, and all of them in one list.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A kind of address.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

kinds! {
    /// `/live/<stream>/index.m3u8`.
    Multivariant,
    /// `/live/<stream>/<rendition>/index.m3u8`.
    Playlist,
    /// `/live/<stream>/<rendition>/init<N>.mp4`.
    Init,
    /// `/live/<stream>/<rendition>/s<N>.m4s`.
    Segment,
    /// `/live/<stream>/<rendition>/p<N>.m4s`.
    Part,
    /// `/live/<stream>/rewind.m3u8`.
    RewindMultivariant,
    /// `/live/<stream>/<rendition>/rewind.m3u8`.
    RewindPlaylist,
    /// `/live/<stream>/index.mpd`.
    Manifest,
    /// `/live/<stream>/<rendition>/v/init<N>.mp4`, and `a/init<N>.mp4`.
    TrackInit,
    /// `/live/<stream>/<rendition>/v/s<N>.m4s`, and `a/s<N>.m4s`; sent as it grows.
    TrackSegment,
    /// `/live/<stream>/thumbnail.jpg` and its three brothers.
    Thumbnail,
    /// `/live/channels/<channel>/index.m3u8`.
    Channel,
    /// `/live/channels/<channel>/index.mpd`.
    ChannelManifest,
    /// `/live/time`.
    Time,
    /// `/live/authorise`: says whether an address in a header may be had.
    Authorise,
    /// `/live/<stream>/rights`, `/live/channels/<channel>/rights`.
    Rights,
    /// `/live/revocations`.
    Revocations,
    /// `/vod/<recording>/index.m3u8`.
    RecordingMultivariant,
    /// `/vod/<recording>/source/index.m3u8`.
    RecordingPlaylist,
    /// `/vod/<recording>/source/init<N>.mp4`.
    RecordingInit,
    /// `/vod/<recording>/source/s<N>.m4s`.
    RecordingSegment,
    /// `/vod/<recording>/download.mp4`, `download-<N>.mp4`.
    Download,
    /// `/vod/<recording>/downloads.json`.
    Downloads,
    /// `/vod/<recording>/thumbnail.jpg`.
    RecordingPicture,
    /// `/vod/<recording>/sheets/index.vtt`.
    SheetTimes,
    /// `/vod/<recording>/sheets/<N>.jpg`.
    Sheet,
    /// `/vod/<recording>/rights`.
    RecordingRights,
}

impl Kind {
    /// What is at a path, with a token in it or without, as it stands in an address: `/live/t/<token>/<stream>/index.m3u8`.
    /// `None` where there is no such address.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        if let Some(path) = path.strip_prefix("/vod") {
            return recordings::Address::read(path).map(|address| Self::of_recording(address.wanted));
        }
        let path = path.strip_prefix("/live")?;
        if let Some(service) = Service::read(path) {
            return Some(match service {
                Service::Authorise => Self::Authorise,
                Service::Revocations => Self::Revocations,
                Service::Rights => Self::Rights,
            });
        }
        Address::read(super::rights::without_token(path)).map(Self::of_stream)
    }

    /// Who gets it.
    #[must_use]
    pub fn audience(self) -> Audience {
        match self {
            Self::Time => Audience::Everybody,
            Self::Rights | Self::Revocations | Self::RecordingRights => Audience::Relays,
            _ => Audience::Viewers,
        }
    }

    /// Whether it is of a recording, and goes by its terms.
    #[must_use]
    pub fn is_of_recording(self) -> bool {
        self >= Self::RecordingMultivariant
    }

    fn of_stream(address: Address<'_>) -> Self {
        match address {
            Address::Master(_) => Self::Multivariant,
            Address::Media(..) => Self::Playlist,
            Address::File(_, _, MediaFile::Init(_)) => Self::Init,
            Address::File(_, _, MediaFile::Segment(_)) => Self::Segment,
            Address::File(_, _, MediaFile::Part(_)) => Self::Part,
            Address::RewindMaster(_) => Self::RewindMultivariant,
            Address::Rewind(..) => Self::RewindPlaylist,
            Address::Manifest(_) => Self::Manifest,
            Address::Track(_, _, _, MediaFile::Init(_)) => Self::TrackInit,
            Address::Track(_, _, _, MediaFile::Segment(_) | MediaFile::Part(_)) => Self::TrackSegment,
            Address::Time => Self::Time,
            Address::Thumbnail(..) => Self::Thumbnail,
            Address::Channel(_) => Self::Channel,
            Address::ChannelManifest(_) => Self::ChannelManifest,
        }
    }

    fn of_recording(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Master => Self::RecordingMultivariant,
            Wanted::Media => Self::RecordingPlaylist,
            Wanted::Init(_) => Self::RecordingInit,
            Wanted::Segment(_) => Self::RecordingSegment,
            Wanted::File(_) => Self::Download,
            Wanted::Files => Self::Downloads,
            Wanted::Picture => Self::RecordingPicture,
            Wanted::Times => Self::SheetTimes,
            Wanted::Sheet(_) => Self::Sheet,
            Wanted::Rights => Self::RecordingRights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11";

    #[test]
    fn each_kind_is_known_by_its_address() {
        let addresses = [
            ("/live/ID/index.m3u8", Kind::Multivariant),
            ("/live/ID/720p/index.m3u8", Kind::Playlist),
            ("/live/ID/source/init0.mp4", Kind::Init),
            ("/live/ID/source/s7.m4s", Kind::Segment),
            ("/live/ID/audio/p7.m4s", Kind::Part),
            ("/live/ID/rewind.m3u8", Kind::RewindMultivariant),
            ("/live/ID/source/rewind.m3u8", Kind::RewindPlaylist),
            ("/live/ID/index.mpd", Kind::Manifest),
            ("/live/ID/source/v/init0.mp4", Kind::TrackInit),
            ("/live/ID/source/a/s7.m4s", Kind::TrackSegment),
            ("/live/ID/thumbnail-small.webp", Kind::Thumbnail),
            ("/live/channels/ID/index.m3u8", Kind::Channel),
            ("/live/channels/ID/index.mpd", Kind::ChannelManifest),
            ("/live/time", Kind::Time),
            ("/live/authorise", Kind::Authorise),
            ("/live/ID/rights", Kind::Rights),
            ("/live/revocations", Kind::Revocations),
            ("/vod/ID/index.m3u8", Kind::RecordingMultivariant),
            ("/vod/ID/source/index.m3u8", Kind::RecordingPlaylist),
            ("/vod/ID/source/init0.mp4", Kind::RecordingInit),
            ("/vod/ID/source/s7.m4s", Kind::RecordingSegment),
            ("/vod/ID/download-2.mp4", Kind::Download),
            ("/vod/ID/downloads.json", Kind::Downloads),
            ("/vod/ID/thumbnail.jpg", Kind::RecordingPicture),
            ("/vod/ID/sheets/index.vtt", Kind::SheetTimes),
            ("/vod/ID/sheets/0.jpg", Kind::Sheet),
            ("/vod/ID/rights", Kind::RecordingRights),
        ];
        for (path, kind) in addresses {
            let path = path.replace("ID", ID);
            assert_eq!(Kind::of(&path), Some(kind), "{path}");
            let (area, rest) = path[1..].split_once('/').unwrap();
            let with_token = Kind::of(&format!("/{area}/t/abc/{rest}"));
            // Relays and caches show theirs in a header.
            let takes_one = !matches!(kind, Kind::Authorise | Kind::Revocations | Kind::RecordingRights);
            let expected = Some(kind).filter(|_| takes_one);
            assert_eq!(with_token, expected, "{path}");
            assert_eq!(kind.is_of_recording(), area == "vod", "{path}");
        }
        assert!(Kind::ALL.iter().all(|kind| addresses.iter().any(|(_, known)| known == kind)));
        for path in ["", "/live", "/vod", "/elsewhere", "/live/nothing", "/vod/ID"] {
            assert_eq!(Kind::of(&path.replace("ID", ID)), None, "{path}");
        }
    }
}
