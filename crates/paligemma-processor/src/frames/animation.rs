//! Frames of animated pictures, each as it is seen: drawn over those before it. In WebP, drawing over
//! what is there may darken a value by one level: the decoder's blending rounds down.

use std::fs::File;
use std::io::{self, BufReader};
use std::panic::UnwindSafe;
use std::path::Path;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{
    AnimationDecoder, Frames, ImageDecoder, ImageError, ImageFormat, Limits, RgbImage, Rgba,
};

use super::{ClipError, MAX_FRAMES};
use crate::PictureError;
use crate::picture::{MAX_BYTES, check_size, flatten, guarded};

/// Bytes of a pixel of a frame while it is drawn.
const PIXEL: u64 = 4;

/// Nothing, on the white that transparent pixels are put on.
const CLEAR: Rgba<u8> = Rgba([255, 255, 255, 0]);

/// How many frames an animation has, at most one more than [`MAX_FRAMES`]; none if the file is a
/// still picture.
pub(super) fn count(path: &Path, format: ImageFormat) -> Result<Option<usize>, ClipError> {
    sound(path, || {
        let Some(frames) = frames(path, format)? else { return Ok(None) };
        let mut count = 0;
        for frame in frames.take(MAX_FRAMES + 1) {
            frame.map_err(|error| in_file(path, error))?;
            count += 1;
        }
        Ok(Some(count))
    })
}

/// The frames at ascending places.
pub(super) fn read(
    path: &Path,
    format: ImageFormat,
    places: &[usize],
) -> Result<Vec<RgbImage>, ClipError> {
    sound(path, || {
        let mut pictures = Vec::new();
        let mut places = places.iter().peekable();
        for (place, frame) in frames(path, format)?.into_iter().flatten().enumerate() {
            if places.peek().is_none() {
                break;
            }
            let frame = frame.map_err(|error| in_file(path, error))?;
            if places.next_if_eq(&&place).is_some() {
                pictures.push(flatten(frame.into_buffer().into()));
            }
        }
        Ok(pictures)
    })
}

/// What `decode` makes of a file, a panic of a decoder being an error in that file.
fn sound<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, ClipError> + UnwindSafe,
) -> Result<T, ClipError> {
    guarded(|| Ok(decode())).unwrap_or_else(|broken| Err(in_file(path, broken)))
}

/// The frames of an animation; none if the file is a still picture.
fn frames(path: &Path, format: ImageFormat) -> Result<Option<Frames<'static>>, ClipError> {
    let failed = |source: io::Error| ClipError::Read { path: path.to_owned(), source };
    let wrong = |error: ImageError| in_file(path, error);
    let file = File::open(path).map(BufReader::new).map_err(failed)?;
    match format {
        ImageFormat::Gif => {
            let decoder = limited(path, GifDecoder::new(file).map_err(wrong)?)?;
            Ok(Some(decoder.into_frames()))
        }
        ImageFormat::WebP => {
            let mut decoder = limited(path, WebPDecoder::new(file).map_err(wrong)?)?;
            if !decoder.has_animation() {
                return Ok(None);
            }
            // Otherwise what a frame takes away stays; libwebp too passes over the file's own
            // background.
            decoder.set_background_color(CLEAR).map_err(wrong)?;
            Ok(Some(decoder.into_frames()))
        }
        ImageFormat::Png => {
            let decoder = limited(path, PngDecoder::new(file).map_err(wrong)?)?;
            let animated = decoder.is_apng().map_err(wrong)?;
            animated
                .then(|| decoder.apng().map(AnimationDecoder::into_frames))
                .transpose()
                .map_err(wrong)
        }
        _ => Ok(None),
    }
}

/// A decoder held to the limits of a single picture.
fn limited<D: ImageDecoder>(path: &Path, mut decoder: D) -> Result<D, ClipError> {
    let (width, height) = decoder.dimensions();
    let bytes = u64::from(width) * u64::from(height) * PIXEL;
    check_size(width, height, bytes).map_err(|error| in_file(path, error))?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    decoder.set_limits(limits).map_err(|error| in_file(path, error))?;
    Ok(decoder)
}

fn in_file(path: &Path, error: impl Into<PictureError>) -> ClipError {
    PictureError::File { path: path.to_owned(), source: Box::new(error.into()) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_an_error_in_its_file() {
        let broken = sound::<()>("clip.gif".as_ref(), || panic!("no frame")).unwrap_err();
        let said = broken.to_string();
        assert!(said.starts_with("clip.gif: ") && said.ends_with("no frame"), "{said}");
        let empty = || Err(ClipError::NoFrames { path: "a".into() });
        assert!(matches!(sound::<()>("b".as_ref(), empty), Err(ClipError::NoFrames { .. })));
        assert_eq!(sound("clip.gif".as_ref(), || Ok(3)).unwrap(), 3);
    }
}
