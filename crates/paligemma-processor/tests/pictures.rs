//! Picture files against the reference's pixels, and what is no picture.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, RgbaImage};
use paligemma_processor::{PictureError, decode_picture, image, open_picture, preprocess, resize};
use proptest::prelude::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images").join(name)
}

fn expected(name: &str) -> RgbImage {
    image::open(golden("expected").join(name)).unwrap().into_rgb8()
}

/// The largest difference of a value, and the share of pixels that are equal.
fn compare(left: &RgbImage, right: &RgbImage) -> (u8, f64) {
    assert_eq!(left.dimensions(), right.dimensions());
    let values = left.as_raw().iter().zip(right.as_raw());
    let largest = values.map(|(left, right)| left.abs_diff(*right)).max().unwrap();
    let equal = left.pixels().zip(right.pixels()).filter(|(left, right)| left == right).count();
    (largest, equal as f64 / left.pixels().len() as f64)
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn gradient() -> DynamicImage {
    RgbImage::from_fn(37, 23, |x, y| [x as u8 * 6, y as u8 * 11, (x * y) as u8].into()).into()
}

#[test]
fn opaque_pictures_equal_the_reference() {
    for (name, size) in [
        ("rgb_333x217", 224),
        ("rgb_333x217", 448),
        ("rgb_224x224", 224),
        ("rgb_1x1", 224),
        ("rgb_wide_3000x7", 224),
        ("l_97x301", 224),
        ("bilevel_70x50", 224),
    ] {
        let picture = open_picture(&golden(&format!("{name}.png"))).unwrap();
        let difference = compare(&resize(&picture, size), &expected(&format!("{name}@{size}.png")));
        assert_eq!(difference, (0, 1.0), "{name} at {size}");
    }
}

#[test]
fn transparent_pictures_are_composited_on_white() {
    for name in ["rgba_131x257", "la_45x61", "palette_64x80"] {
        let path = golden(&format!("{name}.png"));
        let picture = open_picture(&path).unwrap();
        let white = expected(&format!("{name}@224.white.png"));
        assert_eq!(compare(&resize(&picture, 224), &white), (0, 1.0), "{name}");
        // The other reference forgets the alpha: it holds for the resize alone.
        let colours = image::open(&path).unwrap().into_rgb8();
        let forgotten = expected(&format!("{name}@224.png"));
        assert_eq!(compare(&resize(&colours, 224), &forgotten), (0, 1.0), "{name}");
    }
}

#[test]
fn jpeg_pictures_are_upright_and_equal_the_reference() {
    for (name, reference) in [
        ("cmyk_111x90.jpg", "cmyk_111x90@224.png"),
        ("exif6_300x200.jpg", "exif6_300x200@224.upright.png"),
    ] {
        let picture = open_picture(&golden(name)).unwrap();
        assert_eq!(compare(&resize(&picture, 224), &expected(reference)), (0, 1.0), "{name}");
    }
}

#[test]
fn pixels_are_planes_from_minus_one_to_one() {
    let picture = open_picture(&golden("rgb_333x217.png")).unwrap();
    let pixels = preprocess(&picture, 224);
    assert_eq!(pixels.len(), 3 * 224 * 224);
    let reference = expected("rgb_333x217@224.png");
    for (x, y, pixel) in reference.enumerate_pixels() {
        for (channel, &value) in pixel.0.iter().enumerate() {
            let at = (channel * 224 + y as usize) * 224 + x as usize;
            let wanted = (f64::from(value) / 255.0 - 0.5) / 0.5;
            assert!((f64::from(pixels[at]) - wanted).abs() < 1e-6);
        }
    }
    assert_eq!(preprocess(&RgbImage::from_pixel(3, 5, Rgb([0, 255, 0])), 1), [-1.0, 1.0, -1.0]);
}

/// The reference clips these at 255, so `i16_200x150@224.png` is nearly white and no measure.
#[test]
fn sixteen_bits_are_scaled_to_eight() {
    let grey = ImageBuffer::<Luma<u16>, _>::from_vec(4, 1, vec![0, 257, 32_768, 65_535]).unwrap();
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let picture = decode_picture(&encode(&grey.clone().into(), format)).unwrap();
        let values: Vec<_> = picture.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(values, [[0; 3], [1; 3], [128; 3], [255; 3]]);
    }
    let path = golden("i16_200x150.png");
    let (deep, picture) = (image::open(&path).unwrap(), open_picture(&path).unwrap());
    for (deep, shown) in deep.as_luma16().unwrap().pixels().zip(picture.pixels()) {
        assert_eq!(shown.0, [((u32::from(deep[0]) + 128) / 257) as u8; 3]);
    }
}

#[test]
fn the_format_is_in_the_bytes() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    let picture = gradient();
    for format in [Png, Bmp, Tiff, WebP] {
        let decoded = decode_picture(&encode(&picture, format)).unwrap();
        assert_eq!(&decoded, picture.as_rgb8().unwrap(), "{format:?}");
    }
    for format in [Jpeg, Gif] {
        let decoded = decode_picture(&encode(&picture, format)).unwrap();
        assert_eq!(decoded.dimensions(), (37, 23));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really-a.jpg");
    std::fs::write(&path, encode(&picture, Png)).unwrap();
    assert_eq!(&open_picture(&path).unwrap(), picture.as_rgb8().unwrap());
}

#[test]
fn an_animation_is_its_first_frame() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for colour in [[255, 0, 0, 255], [0, 255, 0, 255]] {
        let frame = RgbaImage::from_pixel(5, 4, colour.into());
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    assert_eq!(decode_picture(&bytes).unwrap(), RgbImage::from_pixel(5, 4, [255, 0, 0].into()));
}

#[test]
fn alpha_is_rounded_to_the_nearest_level() {
    let values = [[0, 0, 0, 0], [0, 0, 0, 255], [0, 100, 200, 128], [10, 10, 10, 1]];
    let picture = RgbaImage::from_fn(4, 1, |x, _| values[x as usize].into());
    let shown = decode_picture(&encode(&picture.into(), ImageFormat::Png)).unwrap();
    let shown: Vec<_> = shown.pixels().map(|pixel| pixel.0).collect();
    assert_eq!(shown, [[255; 3], [0; 3], [127, 177, 227], [254; 3]]);
}

/// Where the header of a JPEG's frame begins: its marker, length and bits, then its sides.
fn frame(jpeg: &[u8]) -> usize {
    jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap()
}

/// A BMP, JPEG or PNG header that announces `width` x `height`, with next to nothing behind it.
fn lying(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encode(&gradient(), format);
    if format == ImageFormat::Jpeg {
        let sides = frame(&bytes) + 5;
        bytes[sides..sides + 2].copy_from_slice(&(height as u16).to_be_bytes());
        bytes[sides + 2..sides + 4].copy_from_slice(&(width as u16).to_be_bytes());
    } else if format == ImageFormat::Bmp {
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
    } else {
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// The checksum of a PNG chunk (CRC-32, ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    })
}

#[test]
fn enormous_pictures_are_refused_with_the_limit() {
    for (format, width, height) in [
        (ImageFormat::Png, 16_385, 1),
        (ImageFormat::Png, 1, 100_000),
        (ImageFormat::Png, 16_384, 16_384),
        (ImageFormat::Png, 60_000, 60_000),
        (ImageFormat::Bmp, 50_000, 50_000),
        (ImageFormat::Jpeg, 16_384, 16_384),
        (ImageFormat::Jpeg, 20_000, 1),
    ] {
        let error = decode_picture(&lying(format, width, height)).unwrap_err();
        assert!(matches!(error, PictureError::TooLarge { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(&width.to_string()) && message.contains("16384"), "{message}");
    }
}

#[test]
fn what_is_no_picture_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.png");
    let whole = encode(&gradient(), ImageFormat::Png);
    let cases: [Option<&[u8]>; 6] = [
        None,
        Some(b""),
        Some(b"just text"),
        Some(&whole[..20]),
        Some(&whole[..whole.len() / 2]),
        Some(b"P6 1 1 255 abc"),
    ];
    for contents in cases {
        if let Some(contents) = contents {
            std::fs::write(&path, contents).unwrap();
        }
        let message = open_picture(&path).unwrap_err().to_string();
        assert!(message.contains("photo.png"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    assert!(matches!(decode_picture(b"just text"), Err(PictureError::UnknownFormat)));
    assert!(decode_picture(&lying(ImageFormat::Png, 0, 5)).is_err());
    assert!(decode_picture(&lying(ImageFormat::Png, 5000, 5000)).is_err());
}

#[test]
fn a_picture_cut_in_half_is_an_error() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    for format in [Png, Jpeg, WebP, Gif, Bmp, Tiff] {
        let whole = encode(&gradient(), format);
        assert!(decode_picture(&whole[..whole.len() / 2]).is_err(), "{format:?}");
    }
    let whole = encode(&gradient(), Jpeg);
    let cut = decode_picture(&whole[..whole.len() - 40]);
    assert!(matches!(cut, Err(PictureError::CutOff)), "{cut:?}");
    // A thumbnail's end is not the picture's, and what follows the end does not matter.
    let thumbnail = [&[0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd9, 0, 0], &whole[2..]].concat();
    assert!(decode_picture(&thumbnail).is_ok());
    assert!(decode_picture(&thumbnail[..thumbnail.len() - 40]).is_err());
    assert!(decode_picture(&[&whole[..], &[0xff, 0xda, 7]].concat()).is_ok());
}

/// libjpeg unwinds where it gives up; callers must see an error, with what it says.
#[test]
fn a_jpeg_of_a_kind_that_is_not_supported_is_an_error() {
    let mut bytes = encode(&gradient(), ImageFormat::Jpeg);
    let bits = frame(&bytes) + 4;
    bytes[bits] = 12;
    let error = decode_picture(&bytes).unwrap_err();
    assert!(matches!(error, PictureError::Decode(_)), "{error}");
    assert!(error.to_string().contains("precision 12"), "{error}");
    assert!(decode_picture(&lying(ImageFormat::Jpeg, 0, 5)).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_picture(&bytes);
    }

    #[test]
    fn damaged_pictures_are_no_panic(
        format in prop::sample::select(vec![
            ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif,
            ImageFormat::Bmp, ImageFormat::Tiff,
        ]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = encode(&gradient(), format);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let _ = decode_picture(&bytes);
    }
}
