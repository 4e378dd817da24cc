//! Decodes JPEG files with libjpeg, to the very pixels of the reference.
//!
//! JPEG leaves the rounding of the cosine transform and the widening of subsampled colours to the
//! decoder. The reference (Pillow) uses libjpeg, and decoders written in Rust are up to four
//! levels away from it. That is why this crate, otherwise Rust, builds a C library.

use std::{
    any::Any,
    cell::Cell,
    error::Error,
    io::{self, BufRead, Read},
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{ImageError, ImageFormat, RgbImage, error::DecodingError, metadata::Orientation};
use mozjpeg::{ColorSpace, Decompress, Marker};

use crate::picture::{PictureError, check_size, fraction};

/// The segment that may hold EXIF metadata, and how it begins if it does (EXIF 2.32, 4.7.2).
const EXIF: (Marker, &[u8]) = (Marker::APP(1), b"Exif\0\0");

/// Inks of a picture for print: cyan, magenta, yellow and black.
const INKS: usize = 4;

/// Decodes a JPEG file; also returns how to turn it upright.
///
/// # Errors
/// [`PictureError::TooLarge`] by the header, [`PictureError::CutOff`] where the file ends before
/// its end marker, otherwise [`PictureError::Decode`].
pub(crate) fn decode(bytes: &[u8]) -> Result<(RgbImage, Orientation), PictureError> {
    let cut_off = Cell::new(false);
    let source = Source { rest: bytes, cut_off: &cut_off };
    // An error of libjpeg unwinds, silently, for C has no other way out of its depths.
    let outcome = catch_unwind(AssertUnwindSafe(|| read(source)));
    if cut_off.get() {
        return Err(PictureError::CutOff);
    }
    outcome.unwrap_or_else(|cause| Err(damaged(message(cause))))
}

fn read(source: Source<'_>) -> Result<(RgbImage, Orientation), PictureError> {
    let Header { jpeg, width, height, orientation } = Header::read(source)?;
    let components = jpeg.components().len();
    let colours = if components == INKS { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB };
    let mut lines = jpeg.to_colorspace(colours).map_err(damaged)?;
    let mut pixels: Vec<u8> = lines.read_scanlines().map_err(damaged)?;
    lines.finish().map_err(damaged)?;
    if components == INKS {
        pixels = pixels.as_chunks::<INKS>().0.iter().flat_map(|&inks| printed(inks)).collect();
    }
    let picture = RgbImage::from_raw(width, height, pixels);
    Ok((picture.ok_or_else(|| damaged("there are lines missing"))?, orientation))
}

/// Width and height of the pixels in a JPEG file, which is read to the end of its header, and how
/// to turn them upright.
///
/// # Errors
/// [`PictureError::TooLarge`] or [`PictureError::Decode`].
pub(crate) fn size(file: impl BufRead) -> Result<(u32, u32, Orientation), PictureError> {
    let read = AssertUnwindSafe(|| {
        let Header { width, height, orientation, .. } = Header::read(file)?;
        Ok((width, height, orientation))
    });
    catch_unwind(read).unwrap_or_else(|cause| Err(damaged(message(cause))))
}

/// A file read as far as its header, and what that says.
struct Header<R> {
    jpeg: Decompress<R>,
    width: u32,
    height: u32,
    orientation: Orientation,
}

impl<R: BufRead> Header<R> {
    fn read(source: R) -> Result<Self, PictureError> {
        let jpeg =
            Decompress::builder().with_markers(&[EXIF.0]).from_reader(source).map_err(damaged)?;
        let (width, height) = (jpeg.width() as u32, jpeg.height() as u32);
        // Grey becomes RGB.
        let components = jpeg.components().len().max(3);
        check_size(width, height, u64::from(width) * u64::from(height) * components as u64)?;
        let orientation = jpeg
            .markers()
            .find_map(|segment| segment.data.strip_prefix(EXIF.1))
            .and_then(Orientation::from_exif_chunk)
            .unwrap_or(Orientation::NoTransforms);
        Ok(Self { jpeg, width, height, orientation })
    }
}

/// The colour of inks on paper. JPEG files hold them inverted, 255 for none, as Adobe's programs
/// began to do; the reference relies on it too.
fn printed([cyan, magenta, yellow, black]: [u8; INKS]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|ink| fraction(ink, black))
}

fn damaged(cause: impl Into<Box<dyn Error + Send + Sync>>) -> PictureError {
    ImageError::Decoding(DecodingError::new(ImageFormat::Jpeg.into(), cause)).into()
}

/// What libjpeg says, from what it unwinds with.
fn message(cause: Box<dyn Any + Send>) -> String {
    cause.downcast().map_or_else(|_| "libjpeg gave up".to_owned(), |message| *message)
}

/// The bytes for libjpeg, which goes on in grey where a file ends early: here that is an error.
struct Source<'a> {
    rest: &'a [u8],
    cut_off: &'a Cell<bool>,
}

impl Read for Source<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.rest.read(target)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.cut_off.set(true);
            // Not `UnexpectedEof`: that is where the grey would come from.
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest.consume(count);
    }
}
