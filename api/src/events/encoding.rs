//! The encoding of a long answer: compressed as it goes, and flushed so that what is sent can be read.

use std::io::{self, Write};

use axum::http::{HeaderMap, HeaderValue, header};
use flate2::{Compression, write::GzEncoder};

/// For logs a good deal for little time.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// An encoding of bodies (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The one that the client likes best; of those that it likes as much, the one that takes us least.
    pub(crate) fn of(request: &HeaderMap) -> Self {
        let (mut gzip, mut zstd, mut identity, mut any) = (None, None, None, None);
        let accepted = request.get_all(header::ACCEPT_ENCODING);
        for coding in accepted.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight(parameters);
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "zstd" => zstd = Some(weight),
                "identity" => identity = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
        let [gzip, zstd] = [gzip, zstd].map(|own| own.or(any).unwrap_or(0));
        let best = gzip.max(zstd);
        if best == 0 || identity.is_some_and(|identity| identity > best) {
            Self::Identity
        } else if zstd == best {
            Self::Zstd
        } else {
            Self::Gzip
        }
    }

    /// What the answer's header says; nothing where nothing is done.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Zstd => Some(HeaderValue::from_static("zstd")),
        }
    }

    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn encoder(self) -> io::Result<Encoder> {
        Ok(match self {
            Self::Identity => Encoder::Identity,
            Self::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
            Self::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }
}

/// The weight of a coding in thousandths (RFC 9110, section 12.4.2); a broken one counts as 0.
fn weight(parameters: &str) -> u16 {
    let Some(weight) = parameters.split(';').find_map(|p| p.trim().strip_prefix("q=").or(p.trim().strip_prefix("Q=")))
    else {
        return 1_000;
    };
    let weight: f32 = weight.parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1_000.0) as u16
}

/// Encodes the parts of one body.
pub(crate) enum Encoder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// `plain` encoded such that the client can read all of it as soon as it has what this gives.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn encode(&mut self, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(plain),
            Self::Gzip(encoder) => {
                encoder.write_all(&plain)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&plain)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// What ends the body.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn chosen(accepted: &str) -> Encoding {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, accepted.parse().unwrap());
        Encoding::of(&headers)
    }

    #[test]
    fn the_client_chooses() {
        assert_eq!(Encoding::of(&HeaderMap::new()), Encoding::Identity);
        for (accepted, encoding) in [
            ("", Encoding::Identity),
            ("br, deflate", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("GZIP;q=0.5, br", Encoding::Gzip),
            ("gzip, deflate, br, zstd", Encoding::Zstd),
            ("gzip;q=1.0, zstd;q=0.9", Encoding::Gzip),
            ("gzip;q=0, zstd; q=0", Encoding::Identity),
            ("*", Encoding::Zstd),
            ("zstd;q=0, *", Encoding::Gzip),
            ("identity, gzip;q=0.5", Encoding::Identity),
            ("gzip;q=nonsense", Encoding::Identity),
        ] {
            assert_eq!(chosen(accepted), encoding, "{accepted}");
        }
    }

    #[test]
    fn every_part_can_be_read_at_once() {
        let mut gzip = Encoding::Gzip.encoder().unwrap();
        let mut zstd = Encoding::Zstd.encoder().unwrap();
        let (mut gzipped, mut zstded) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            gzipped.extend(gzip.encode(format!("line {number}\n").into_bytes()).unwrap());
            zstded.extend(zstd.encode(format!("line {number}\n").into_bytes()).unwrap());
            let expected: String = (1..=number).map(|number| format!("line {number}\n")).collect();
            let mut read = vec![0; expected.len()];
            flate2::read::GzDecoder::new(gzipped.as_slice()).read_exact(&mut read).unwrap();
            assert_eq!(read, expected.as_bytes());
            zstd::stream::read::Decoder::new(zstded.as_slice()).unwrap().read_exact(&mut read).unwrap();
            assert_eq!(read, expected.as_bytes());
        }
        gzipped.extend(gzip.finish().unwrap());
        zstded.extend(zstd.finish().unwrap());
        let mut text = String::new();
        flate2::read::GzDecoder::new(gzipped.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "line 1\nline 2\nline 3\n");
        assert_eq!(zstd::stream::decode_all(zstded.as_slice()).unwrap(), text.as_bytes());
    }
}
