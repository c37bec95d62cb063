//! Reads addresses. Each thing has exactly one, so that a cache holds it once.

use domain::ids::{ChannelId, StreamId};
use uuid::Uuid;

use super::problem::Problem;
use crate::{rewind::Track, thumbnails::Picture};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address<'a> {
    Master(StreamId),
    /// The media playlist of a rendition, by its name.
    Media(StreamId, &'a str),
    /// What the media playlist of a rendition names.
    File(StreamId, &'a str, MediaFile),
    /// The multivariant playlist of what is kept on the disk too.
    RewindMaster(StreamId),
    /// The media playlist of a rendition, as far back as it is kept.
    Rewind(StreamId, &'a str),
    /// The manifest for DASH.
    Manifest(StreamId),
    /// What the manifest names: one track of a rendition.
    Track(StreamId, &'a str, Track, MediaFile),
    /// What time it is.
    Time,
    Thumbnail(StreamId, Picture),
    Channel(ChannelId),
    ChannelManifest(ChannelId),
}

/// What a playlist names, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaFile {
    Init(u64),
    Segment(u64),
    Part(u64),
}

impl<'a> Address<'a> {
    /// Reads the path below the origin's root.
    pub(super) fn read(path: &'a str) -> Option<Self> {
        if path == "/time" {
            return Some(Self::Time);
        }
        let mut names = path.strip_prefix('/')?.split('/');
        if let (Some(stream), Some(name), Some(track @ ("v" | "a")), Some(file), None) =
            (names.next(), names.next(), names.next(), names.next(), names.next())
        {
            let file = MediaFile::read(file).filter(|file| !matches!(file, MediaFile::Part(_)))?;
            let track = if track == "v" { Track::Video } else { Track::Audio };
            return Some(Self::Track(id(stream)?.into(), rendition(name)?, track, file));
        }
        let mut names = path.strip_prefix('/')?.split('/');
        let (first, second, third, rest) = (names.next()?, names.next()?, names.next(), names.next());
        match (first, second, third, rest) {
            ("channels", channel, Some("index.m3u8"), None) => Some(Self::Channel(id(channel)?.into())),
            ("channels", channel, Some("index.mpd"), None) => Some(Self::ChannelManifest(id(channel)?.into())),
            (stream, "index.m3u8", None, None) => Some(Self::Master(id(stream)?.into())),
            (stream, "index.mpd", None, None) => Some(Self::Manifest(id(stream)?.into())),
            (stream, "rewind.m3u8", None, None) => Some(Self::RewindMaster(id(stream)?.into())),
            (stream, name, Some("rewind.m3u8"), None) => Some(Self::Rewind(id(stream)?.into(), rendition(name)?)),
            (stream, name, None, None) => Some(Self::Thumbnail(id(stream)?.into(), Picture::named(name)?)),
            (stream, name, Some("index.m3u8"), None) => Some(Self::Media(id(stream)?.into(), rendition(name)?)),
            (stream, name, Some(file), None) => {
                Some(Self::File(id(stream)?.into(), rendition(name)?, MediaFile::read(file)?))
            }
            _ => None,
        }
    }
}

impl MediaFile {
    fn read(name: &str) -> Option<Self> {
        if let Some(name) = name.strip_suffix(".m4s") {
            let (kind, digits) = name.split_at_checked(1)?;
            return match kind {
                "s" => Some(Self::Segment(number(digits)?)),
                "p" => Some(Self::Part(number(digits)?)),
                _ => None,
            };
        }
        let digits = name.strip_prefix("init")?.strip_suffix(".mp4")?;
        Some(Self::Init(number(digits)?))
    }
}

/// How a media playlist is asked for: the delivery directives of RFC 8216bis section 6.2.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReloadQuery {
    /// What it is to have; `None` for what there is now.
    pub position: Option<Position>,
    /// A delta update will do.
    pub is_delta: bool,
}

/// What a blocked reload waits for: RFC 8216bis section 6.2.5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub segment: u64,
    pub part: Option<u64>,
}

impl ReloadQuery {
    /// Reads the delivery directives of a query. What is not of HLS is not ours.
    pub(crate) fn read(query: &str) -> Result<Self, Problem> {
        let value = |wanted: &str| {
            query.split('&').find_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name == wanted).then_some(value)
            })
        };
        let parse = |text: &str| text.parse::<u64>().map_err(|_| Problem::RELOAD_INVALID);
        // "v2" leaves out old date ranges too, of which there are none.
        let is_delta = match value("_HLS_skip") {
            None => false,
            Some("YES" | "v2") => true,
            Some(_) => return Err(Problem::RELOAD_INVALID),
        };
        let position = match (value("_HLS_msn"), value("_HLS_part")) {
            (None, None) => None,
            (None, Some(_)) => return Err(Problem::RELOAD_INVALID),
            (Some(segment), part) => Some(Position { segment: parse(segment)?, part: part.map(parse).transpose()? }),
        };
        Ok(Self { position, is_delta })
    }
}

/// The name of a rendition, whether there is one of this name or not.
fn rendition(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    ((1..=32).contains(&text.len()) && text.bytes().all(is_plain)).then_some(text)
}

/// A UUID in lower case with hyphens.
fn id(text: &str) -> Option<Uuid> {
    let is_plain = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_plain { Uuid::parse_str(text).ok() } else { None }
}

/// Decimal digits without a sign or a zero in front.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11";

    #[test]
    fn what_is_kept_and_what_is_apart_have_addresses_too() {
        let stream: StreamId = ID.parse().unwrap();
        let with_id = |path: &str| -> &'static str { path.replace("ID", ID).leak() };
        let read = |path: &str| Address::read(with_id(path));
        assert_eq!(read("/ID/rewind.m3u8"), Some(Address::RewindMaster(stream)));
        assert_eq!(read("/ID/720p/rewind.m3u8"), Some(Address::Rewind(stream, "720p")));
        assert_eq!(read("/ID/index.mpd"), Some(Address::Manifest(stream)));
        assert_eq!(read("/channels/ID/index.mpd"), Some(Address::ChannelManifest(ID.parse().unwrap())));
        assert_eq!(read("/time"), Some(Address::Time));
        let (picture, sound) = (Track::Video, Track::Audio);
        assert_eq!(read("/ID/720p/v/s7.m4s"), Some(Address::Track(stream, "720p", picture, MediaFile::Segment(7))));
        assert_eq!(read("/ID/source/a/init0.mp4"), Some(Address::Track(stream, "source", sound, MediaFile::Init(0))));
        for path in [
            "/ID/source/v/p7.m4s",
            "/ID/source/x/s7.m4s",
            "/ID/source/v/s07.m4s",
            "/ID/source/v/s7.m4s/",
            "/time/",
            "/x/v/a/s7.m4s",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn each_thing_has_one_address() {
        let stream: StreamId = ID.parse().unwrap();
        let channel: ChannelId = ID.parse().unwrap();
        let with_id = |path: &str| -> &'static str { path.replace("ID", ID).leak() };
        let read = |path: &str| Address::read(with_id(path));
        assert_eq!(read("/ID/index.m3u8"), Some(Address::Master(stream)));
        assert_eq!(read("/ID/source/index.m3u8"), Some(Address::Media(stream, "source")));
        assert_eq!(read("/ID/720p/index.m3u8"), Some(Address::Media(stream, "720p")));
        assert_eq!(read("/ID/source/s0.m4s"), Some(Address::File(stream, "source", MediaFile::Segment(0))));
        assert_eq!(read("/ID/audio/p120.m4s"), Some(Address::File(stream, "audio", MediaFile::Part(120))));
        assert_eq!(read("/ID/source/init7.mp4"), Some(Address::File(stream, "source", MediaFile::Init(7))));
        assert_eq!(read("/ID/thumbnail.jpg"), Some(Address::Thumbnail(stream, Picture::Jpeg)));
        assert_eq!(read("/ID/thumbnail.webp"), Some(Address::Thumbnail(stream, Picture::Webp)));
        assert_eq!(read("/ID/thumbnail-small.jpg"), Some(Address::Thumbnail(stream, Picture::SmallJpeg)));
        assert_eq!(read("/ID/thumbnail-small.webp"), Some(Address::Thumbnail(stream, Picture::SmallWebp)));
        assert_eq!(read("/channels/ID/index.m3u8"), Some(Address::Channel(channel)));
        for path in [
            "",
            "/",
            "//",
            "/ID",
            "/ID/",
            "/x/index.m3u8",
            "/ID//index.m3u8",
            "/ID/72OP/index.m3u8",
            "/ID/%2e/index.m3u8",
            "/ID/source/s01.m4s",
            "/ID/source/s+1.m4s",
            "/ID/source/s.m4s",
            "/ID/source/.m4s",
            "/ID/source/é.m4s",
            "/ID/source/init.mp4",
            "/ID/source/s1.m4s/",
            "/ID/source/s99999999999999999999.m4s",
            "/ID/source/../index.m3u8",
            "/channels/ID",
            "/channels//index.m3u8",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
        assert_eq!(Address::read(&format!("/{}/index.m3u8", ID.to_uppercase())), None);
    }

    #[test]
    fn directives_are_numbers() {
        let reload = |segment, part, is_delta| Ok(ReloadQuery { position: Some(Position { segment, part }), is_delta });
        assert_eq!(ReloadQuery::read(""), Ok(ReloadQuery::default()));
        assert_eq!(ReloadQuery::read("t=1"), Ok(ReloadQuery::default()));
        assert_eq!(ReloadQuery::read("_HLS_msn=4"), reload(4, None, false));
        assert_eq!(ReloadQuery::read("t=1&_HLS_part=0&_HLS_msn=4"), reload(4, Some(0), false));
        assert_eq!(ReloadQuery::read("_HLS_msn=4&_HLS_skip=YES"), reload(4, None, true));
        assert_eq!(ReloadQuery::read("_HLS_skip=v2"), Ok(ReloadQuery { position: None, is_delta: true }));
        for query in [
            "_HLS_part=1",
            "_HLS_msn=",
            "_HLS_msn",
            "_HLS_msn=-1",
            "_HLS_msn=1&_HLS_part=x",
            "_HLS_msn=1e3",
            "_HLS_skip",
            "_HLS_skip=NO",
            "_HLS_msn=1&_HLS_skip=yes",
        ] {
            assert_eq!(ReloadQuery::read(query), Err(Problem::RELOAD_INVALID), "{query}");
        }
    }
}
