use image::{GrayImage, ImageEncoder, Rgba, RgbaImage, codecs::png::PngEncoder, codecs::webp::WebPEncoder};

use super::*;

const RED: Rgb<u8> = Rgb([220, 20, 20]);
const GREEN: Rgb<u8> = Rgb([20, 180, 20]);
const BLUE: Rgb<u8> = Rgb([20, 20, 220]);

fn png(picture: &DynamicImage) -> Vec<u8> {
    let mut file = Vec::new();
    picture.write_with_encoder(PngEncoder::new(&mut file)).unwrap();
    file
}

fn jpeg(picture: &DynamicImage) -> Vec<u8> {
    let mut file = Vec::new();
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut file, 95)).unwrap();
    file
}

fn webp(picture: &DynamicImage) -> Vec<u8> {
    let mut file = Vec::new();
    picture.write_with_encoder(WebPEncoder::new_lossless(&mut file)).unwrap();
    file
}

/// Three stripes from left to right.
fn stripes(width: u32, height: u32) -> DynamicImage {
    let colour = |x| [RED, GREEN, BLUE][usize::try_from(x * 3 / width).unwrap()];
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, _| colour(x)))
}

/// The same JPEG with an orientation in its metadata (Exif 2.3, tag 0x0112).
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

/// A PNG that says it has so many pixels, of so many bits and of a kind of colour, and has none.
fn claiming(width: u32, height: u32, bits: u8, colour: u8) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        file.extend([kind, data, &crc.sum().to_be_bytes()].concat());
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, colour, 0, 0, 0]].concat();
    chunk(b"IHDR", &header);
    chunk(b"IDAT", b"\x78\x9c\x63\x00\x00\x00\x01\x00\x01");
    chunk(b"IEND", b"");
    file
}

fn shown(file: &[u8], side: u32) -> RgbImage {
    assert_eq!(image::guess_format(file).unwrap(), ImageFormat::Jpeg);
    let picture = image::load_from_memory(file).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (side, side));
    picture
}

fn is_like(pixel: Rgb<u8>, colour: Rgb<u8>) -> bool {
    pixel.0.iter().zip(colour.0).all(|(one, other)| one.abs_diff(other) < 24)
}

#[track_caller]
fn assert_like(picture: &RgbImage, (x, y): (u32, u32), colour: Rgb<u8>) {
    let pixel = *picture.get_pixel(x, y);
    assert!(is_like(pixel, colour), "{pixel:?} at {x}, {y} is not like {colour:?}");
}

#[test]
fn the_middle_is_kept_in_each_size_whatever_the_kind() {
    let wide = stripes(900, 300);
    for file in [png(&wide), jpeg(&wide), webp(&wide)] {
        let made = make_squares(&file, &[64, 256]).unwrap();
        for (file, side) in made.iter().zip([64, 256]) {
            let picture = shown(file, side);
            for at in [(0, 0), (side - 1, 0), (side / 2, side / 2), (side - 1, side - 1)] {
                assert_like(&picture, at, GREEN);
            }
        }
    }
    // Larger than what is made smaller the fast way; and smaller than what is wanted.
    for (width, height) in [(2_400, 3_000), (2, 1), (1, 1)] {
        let made = make_squares(&png(&stripes(width.max(3), height)), &[256]).unwrap();
        shown(&made[0], 256);
    }
    let grey = DynamicImage::ImageLuma8(GrayImage::from_pixel(40, 40, image::Luma([90])));
    let made = make_squares(&jpeg(&grey), &[64]).unwrap();
    assert_like(&shown(&made[0], 64), (32, 32), Rgb([90, 90, 90]));
}

#[test]
fn it_is_turned_as_its_metadata_says_and_these_are_not_kept() {
    // Red above, blue below.
    let upright = DynamicImage::ImageRgb8(RgbImage::from_fn(96, 96, |_, y| if y < 48 { RED } else { BLUE }));
    let upright = jpeg(&upright);
    for (orientation, red, blue) in
        [(1, (32, 4), (32, 60)), (3, (32, 60), (32, 4)), (6, (60, 32), (4, 32)), (8, (4, 32), (60, 32))]
    {
        let file = turned(&upright, orientation);
        let made = make_squares(&file, &[64]).unwrap();
        let picture = shown(&made[0], 64);
        assert_like(&picture, red, RED);
        assert_like(&picture, blue, BLUE);
        assert!(file.windows(4).any(|word| word == b"Exif") && !made[0].windows(4).any(|word| word == b"Exif"));
    }
}

#[test]
fn what_can_be_seen_through_stands_out() {
    let mark = |colour: [u8; 3]| {
        let [red, green, blue] = colour;
        let pixel = |x, y| if (40..60).contains(&x) && (40..60).contains(&y) { 255 } else { 0 };
        png(&DynamicImage::ImageRgba8(RgbaImage::from_fn(100, 100, |x, y| Rgba([red, green, blue, pixel(x, y)]))))
    };
    let corner = |file: &[u8]| *shown(&make_squares(file, &[64]).unwrap()[0], 64).get_pixel(2, 2);
    assert!(is_like(corner(&mark([255, 255, 255])), Rgb(INK)));
    assert!(is_like(corner(&mark([200, 0, 0])), Rgb(PAPER)));
    let nothing = png(&DynamicImage::ImageRgba8(RgbaImage::new(20, 20)));
    assert!(is_like(corner(&nothing), Rgb(PAPER)));
}

#[test]
fn what_is_hostile_is_refused() {
    use PictureError::{Damaged, Dimensions, Kind};
    let picture = stripes(300, 200);
    let (png, jpeg, webp) = (png(&picture), jpeg(&picture), webp(&picture));
    let half = |file: &[u8]| file[..file.len() / 2].to_vec();
    let mut flipped = png.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xFF;
    let svg = b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;";
    for (name, file, error) in [
        ("nothing", Vec::new(), Kind),
        ("text", b"a picture".to_vec(), Kind),
        ("SVG", svg.to_vec(), Kind),
        ("GIF", gif.to_vec(), Kind),
        ("half a PNG", half(&png), Damaged),
        ("half a JPEG", half(&jpeg), Damaged),
        ("a JPEG without its end", jpeg[..jpeg.len() - 2].to_vec(), Damaged),
        ("half a WebP", half(&webp), Damaged),
        ("a PNG with a flipped byte", flipped, Damaged),
        ("the first bytes of a PNG", png[..8].to_vec(), Damaged),
        ("the first bytes of a JPEG", vec![0xFF, 0xD8, 0xFF], Damaged),
        ("the first bytes of a WebP", b"RIFF\0\0\0\0WEBP".to_vec(), Damaged),
        ("a PNG without pixels", claiming(10, 10, 8, 2), Damaged),
        ("no width", claiming(0, 10, 8, 2), Damaged),
        ("a bomb", claiming(12_000, 12_000, 1, 0), Dimensions),
        ("a wide one", claiming(12_001, 1, 8, 2), Dimensions),
        ("a high one", claiming(1, 200_000, 8, 2), Dimensions),
        ("the largest that can be said", claiming(0x7FFF_FFFF, 0x7FFF_FFFF, 16, 6), Dimensions),
        ("deep pixels", claiming(4_900, 4_900, 16, 6), Dimensions),
    ] {
        let found = make_squares(&file, &[64]).map(|_| ());
        assert_eq!(found, Err(error), "{name}");
    }
}

#[test]
fn a_real_bomb_is_not_inflated() {
    // 100 million pixels in 12 kB.
    let bomb = DynamicImage::ImageLuma8(GrayImage::new(10_000, 10_000));
    let mut file = Vec::new();
    PngEncoder::new_with_quality(
        &mut file,
        image::codecs::png::CompressionType::Best,
        image::codecs::png::FilterType::NoFilter,
    )
    .write_image(bomb.as_bytes(), 10_000, 10_000, image::ExtendedColorType::L8)
    .unwrap();
    assert!(file.len() < 200_000, "{}", file.len());
    assert_eq!(make_squares(&file, &[64]).map(|_| ()), Err(PictureError::Dimensions));
}

#[test]
fn the_end_of_a_preview_is_not_the_end() {
    let small = jpeg(&stripes(30, 30));
    let large = jpeg(&stripes(300, 300));
    // A whole JPEG in a segment of its own, as cameras keep a preview.
    let length = u16::try_from(small.len() + 2).unwrap().to_be_bytes();
    let with_preview = [&large[..2], &[0xFF, 0xE2], &length, &small, &large[2..]].concat();
    assert!(make_squares(&with_preview, &[64]).is_ok());
    let cut = &with_preview[..with_preview.len() - 40];
    assert_eq!(make_squares(cut, &[64]).map(|_| ()), Err(PictureError::Damaged));
}

#[test]
fn a_kind_has_to_be_said() {
    let says = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        says_picture(&headers)
    };
    for taken in ["image/jpeg", "image/PNG", "image/webp; q=1"] {
        assert!(says(taken), "{taken}");
    }
    for other in ["", "image/svg+xml", "image/*", "application/json", "image/jpegs"] {
        assert!(!says(other), "{other}");
    }
    assert!(!says_picture(&HeaderMap::new()));
}
