//! Pictures that people upload. A file from a stranger is taken for what it may be: too much, something else than it says,
//! broken on purpose, or a small file that becomes a huge picture. What is kept is never the file, but a picture made anew of
//! what it shows: without its metadata (where a photo was taken, with what), its colour profile and whatever else it held.
//!
//! | what | limit | answer |
//! |---|---|---|
//! | the file | [`MAX_BYTES`] | 413 `picture_too_large` |
//! | its kind, by its first bytes and not by what it is called | JPEG, PNG, WebP | 415 `picture_kind_unsupported` |
//! | its width and height, before anything is decoded | [`MAX_SIDE`], [`MAX_PIXELS`] | 422 `picture_dimensions` |
//! | what decoding takes, in memory | [`MAX_DECODED_BYTES`] | 422 `picture_dimensions` |
//! | files that are held at once | [`RECEIVED_AT_ONCE`] | 503 `overloaded` |
//! | files that are decoded at once | [`DECODED_AT_ONCE`] | the others wait |
//!
//! To take pictures for something else: [`receive`] the file, and make of it what is needed, beside [`squares`].

use std::{io::Cursor, time::Duration};

use axum::{
    body::HttpBody,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage, codecs::jpeg::JpegEncoder,
    imageops::FilterType, metadata::Orientation,
};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{ApiError, ApiResult, generic};

/// The most that a file may have, in bytes: a photo of a telephone has 2 to 6 MB.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// The most pixels of a side.
const MAX_SIDE: u32 = 12_000;
/// The most pixels of a picture: telephones take 12 or 24 million.
const MAX_PIXELS: u64 = 25_000_000;
/// The most that a decoded picture may take of memory: [`MAX_PIXELS`] in four bytes each. While it is decoded and cut, three
/// times that are taken for a moment.
const MAX_DECODED_BYTES: u64 = 4 * MAX_PIXELS;
/// How many files are in memory at once, whole or in part.
const RECEIVED_AT_ONCE: usize = 16;
/// How many are decoded at once: it takes memory and a core that others need more.
const DECODED_AT_ONCE: usize = 1;
/// How long a file may take to arrive; a little less than a request may take.
const RECEIVED_WITHIN: Duration = Duration::from_secs(25);
/// What nobody sees the difference of at these sizes, from 0 to 100.
const QUALITY: u8 = 85;
/// Pictures are made smaller to this by the fast way, which is as good as the slow one while much is left out.
const FAST_TO: u32 = 1_024;
/// Behind a picture that can be seen through: paper, and ink for those that are as light as paper.
const PAPER: [u8; 3] = [250, 252, 253];
const INK: [u8; 3] = [10, 20, 27];

static RECEIVING: Semaphore = Semaphore::const_new(RECEIVED_AT_ONCE);
static DECODING: Semaphore = Semaphore::const_new(DECODED_AT_ONCE);

/// A file that somebody sent. While it is there, it has a place among those that may be.
pub(crate) struct Received {
    bytes: Bytes,
    _place: SemaphorePermit<'static>,
}

/// What is wrong with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum PictureError {
    /// It is not of a kind that is taken.
    #[error("the file is no JPEG, PNG or WebP")]
    Kind,
    /// It has too many pixels.
    #[error("the picture has too many pixels")]
    Dimensions,
    /// It ends too early, or is damaged.
    #[error("the picture is damaged")]
    Damaged,
}

/// Takes the file that is the body of `request`.
///
/// # Errors
/// `picture_kind_unsupported`, `picture_too_large`, `request_timeout`, `overloaded`; or `body_broken`.
pub(crate) async fn receive(request: Request) -> ApiResult<Received> {
    if !says_picture(request.headers()) {
        return Err(wrong_kind());
    }
    // What is announced need not be waited for.
    if request.body().size_hint().lower() > MAX_BYTES as u64 {
        return Err(too_large());
    }
    let place = RECEIVING.try_acquire().map_err(|_| ApiError::overloaded())?;
    let mut body = request.into_body().into_data_stream();
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| {
                ApiError::new(StatusCode::BAD_REQUEST, "body_broken", "The body could not be read")
                    .detail("The body broke off before its end. Send it again.")
            })?;
            if bytes.len() + piece.len() > MAX_BYTES {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    };
    match tokio::time::timeout(RECEIVED_WITHIN, read).await {
        Ok(bytes) => Ok(Received { bytes: bytes?, _place: place }),
        Err(_) => Err(generic(StatusCode::REQUEST_TIMEOUT).into()),
    }
}

/// Whether the header names a kind that is taken. What counts is what the file is; a client that says something else has made
/// a mistake that it should hear of before it sends megabytes.
fn says_picture(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    ["image/jpeg", "image/png", "image/webp"].iter().any(|taken| essence.eq_ignore_ascii_case(taken))
}

/// The middle of a picture as a square, once for each of `sides` (its pixels): JPEG files, in their order.
///
/// # Errors
/// [`PictureError`] as a refusal, also where a decoder panics.
pub(crate) async fn squares(received: Received, sides: &'static [u32]) -> ApiResult<Vec<Bytes>> {
    let turn = DECODING.acquire().await.map_err(ApiError::internal)?;
    let made = tokio::task::spawn_blocking(move || {
        let made = make_squares(&received.bytes, sides);
        // Whoever asked may be gone; the turn is over when the work is.
        drop((received, turn));
        made
    });
    match made.await {
        Ok(made) => made.map_err(refused),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a picture could not be decoded");
            Err(refused(PictureError::Damaged))
        }
    }
}

fn make_squares(bytes: &[u8], sides: &[u32]) -> Result<Vec<Bytes>, PictureError> {
    let (picture, orientation) = decode(bytes)?;
    let side = picture.width().min(picture.height());
    let (x, y) = ((picture.width() - side) / 2, (picture.height() - side) / 2);
    let square = if picture.width() == picture.height() { picture } else { picture.crop_imm(x, y, side, side) };
    let mut square = opaque(square);
    if square.width() > FAST_TO {
        square = square.thumbnail_exact(FAST_TO, FAST_TO);
    }
    // The middle stays the middle however it is turned, and less has to be.
    square.apply_orientation(orientation);
    let small = sides.iter().map(|side| {
        let small = square.resize_exact(*side, *side, FilterType::Lanczos3).into_rgb8();
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, QUALITY).encode_image(&small).map_err(|_| PictureError::Damaged)?;
        Ok(Bytes::from(file))
    });
    small.collect()
}

/// The picture as it is stored, and how it is to be turned.
fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), PictureError> {
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => format,
        _ => return Err(PictureError::Kind),
    };
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        return Err(PictureError::Damaged);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(2 * MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| why(&error))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(PictureError::Damaged);
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(PictureError::Dimensions);
    }
    // What says so may be damaged alone.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(|error| why(&error))?;
    Ok((picture, orientation))
}

fn why(error: &ImageError) -> PictureError {
    match error {
        ImageError::Limits(_) => PictureError::Dimensions,
        _ => PictureError::Damaged,
    }
}

/// Whether a JPEG has its end: its decoder shows one that broke off with grey for the rest. The end of image (ITU-T T.81, B.1.1.3)
/// cannot be within the scan's data, and what is before the scan may hold another, of a small preview.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            // What may fill the space before a marker.
            0xFF => at += 1,
            // Start of scan.
            0xDA => return bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]),
            // Markers without a length.
            0x01 | 0xD0..=0xD8 => at += 2,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    false
}

/// The same picture before something that it stands out from, where it can be seen through.
fn opaque(picture: DynamicImage) -> DynamicImage {
    if !picture.color().has_alpha() {
        return DynamicImage::ImageRgb8(picture.into_rgb8());
    }
    let picture = picture.into_rgba8();
    let (mut light, mut weight) = (0, 0);
    for pixel in picture.pixels() {
        let [red, green, blue, alpha] = pixel.0.map(u64::from);
        // Rec. 709 luma, in 256ths.
        light += alpha * ((54 * red + 183 * green + 19 * blue) >> 8);
        weight += alpha;
    }
    let behind = if light > 200 * weight { INK } else { PAPER };
    let mut shown = RgbImage::new(picture.width(), picture.height());
    for (shown, pixel) in shown.pixels_mut().zip(picture.pixels()) {
        let [red, green, blue, alpha] = pixel.0;
        let over = |above: u8, below: u8| {
            let alpha = u32::from(alpha);
            let mixed = (u32::from(above) * alpha + u32::from(below) * (255 - alpha) + 127) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        *shown = Rgb([over(red, behind[0]), over(green, behind[1]), over(blue, behind[2])]);
    }
    DynamicImage::ImageRgb8(shown)
}

fn refused(error: PictureError) -> ApiError {
    match error {
        PictureError::Kind => wrong_kind(),
        PictureError::Dimensions => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "picture_dimensions", "The picture has too many pixels")
                .detail("A picture may have 25 million pixels and 12,000 on a side. Make it smaller and send it again.")
        }
        PictureError::Damaged => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "picture_damaged", "The picture is damaged")
                .detail("The file ends too early or is damaged. Save the picture anew, or send another.")
        }
    }
}

fn wrong_kind() -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "picture_kind_unsupported", "This kind of file is not taken")
        .detail("Send a JPEG, PNG or WebP file, with `Content-Type: image/jpeg`, `image/png` or `image/webp`.")
}

fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "picture_too_large", "The file is too large")
        .detail("A picture may have 8 MB (8,388,608 bytes) at most. Make it smaller and send it again.")
}

#[cfg(test)]
mod tests;
