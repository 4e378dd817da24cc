//! Reads picture files into upright 8-bit RGB, and RGB into the vision tower's numbers.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Seek},
    path::{Path, PathBuf},
};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
    metadata::Orientation,
};

use crate::{jpeg, resize::resize};

/// The most pixels a picture may have along a side.
pub const MAX_SIDE: u32 = 16_384;

/// The most memory a decoded picture may take, in bytes.
pub const MAX_BYTES: u64 = 512 << 20;

/// Why a picture could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file could not be read at all.
    #[error("cannot read the picture {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The first bytes belong to no format this crate reads.
    #[error("not a picture: give a PNG, JPEG, WebP, GIF, BMP or TIFF file")]
    UnknownFormat,
    /// The header announces more than is worth decoding for a model that sees 896 pixels at most.
    #[error(
        "the picture is too large, {width} x {height} pixels in {bytes} bytes: scale it down, \
         the limit is {MAX_SIDE} pixels a side and {MAX_BYTES} bytes"
    )]
    TooLarge {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Bytes of the decoded pixels.
        bytes: u64,
    },
    /// A JPEG stops in the middle, where its decoder would go on in grey.
    #[error("the picture is cut off before its end: copy or download the file anew")]
    CutOff,
    /// The data behind the header is damaged, cut off or of a kind that is not supported.
    #[error("cannot decode the picture, save it anew as PNG or JPEG: {0}")]
    Decode(#[from] ImageError),
    /// What went wrong, with the file it went wrong in.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with its contents.
        source: Box<PictureError>,
    },
}

/// Reads a picture file; see [`decode_picture`]. The name's extension does not matter.
///
/// # Errors
/// Names the path in every case; otherwise those of [`decode_picture`].
pub fn open_picture(path: &Path) -> Result<RgbImage, PictureError> {
    let bytes = std::fs::read(path)
        .map_err(|source| PictureError::Read { path: path.to_owned(), source })?;
    decode_picture(&bytes)
        .map_err(|source| PictureError::File { path: path.to_owned(), source: Box::new(source) })
}

/// Decodes PNG, JPEG, WebP, GIF, BMP or TIFF, whichever the bytes say they are, as people see it:
///
/// * the first frame of an animation;
/// * turned upright where an orientation tag says so (the reference ignores the tag);
/// * 16-bit values scaled to 8 bits (the reference clips them at 255 instead);
/// * transparency composited on white, as the reference does.
///
/// # Errors
/// [`PictureError::UnknownFormat`], [`PictureError::TooLarge`] before anything of that size is
/// allocated, and [`PictureError::CutOff`] or [`PictureError::Decode`] for damaged or unsupported
/// data.
pub fn decode_picture(bytes: &[u8]) -> Result<RgbImage, PictureError> {
    let (mut picture, orientation) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes).map(|(rgb, turn)| (rgb.into(), turn))?,
        Ok(format) if format.reading_enabled() => decode_other(bytes, format)?,
        _ => return Err(PictureError::UnknownFormat),
    };
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
}

/// Decodes any format but JPEG; also returns how to turn it upright.
fn decode_other(
    bytes: &[u8],
    format: ImageFormat,
) -> Result<(DynamicImage, Orientation), PictureError> {
    let (decoder, orientation) = header_of_other(Cursor::new(bytes), format)?;
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// Reads the header of any format but JPEG; also returns how to turn the picture upright.
fn header_of_other<'a>(
    file: impl BufRead + Seek + 'a,
    format: ImageFormat,
) -> Result<(impl ImageDecoder + 'a, Orientation), PictureError> {
    let mut reader = ImageReader::with_format(file, format);
    // Bounds what decoders allocate besides the pixels. Those are checked below, where the error
    // can say how many there are.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, decoder.total_bytes())?;
    // Damaged metadata is no reason to refuse sound pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

/// Width and height that [`open_picture`] would give a file, of which only the header is read.
///
/// # Errors
/// Names the path in every case; otherwise those of [`decode_picture`] that a header can show.
pub fn picture_size(path: &Path) -> Result<(u32, u32), PictureError> {
    let unreadable = |source| PictureError::Read { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let format = image::guess_format(file.fill_buf().map_err(unreadable)?);
    size(file, format.ok())
        .map_err(|source| PictureError::File { path: path.to_owned(), source: Box::new(source) })
}

/// Width and height of a picture that stands upright.
fn size(file: BufReader<File>, format: Option<ImageFormat>) -> Result<(u32, u32), PictureError> {
    let (width, height, orientation) = match format {
        Some(ImageFormat::Jpeg) => jpeg::size(file)?,
        Some(format) if format.reading_enabled() => {
            let (decoder, orientation) = header_of_other(file, format)?;
            let (width, height) = decoder.dimensions();
            (width, height, orientation)
        }
        _ => return Err(PictureError::UnknownFormat),
    };
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    Ok(if turned { (height, width) } else { (width, height) })
}

/// Refuses what a header announces, before it is allocated, where it is over the limits.
pub(crate) fn check_size(width: u32, height: u32, bytes: u64) -> Result<(), PictureError> {
    if width.max(height) > MAX_SIDE || bytes > MAX_BYTES {
        return Err(PictureError::TooLarge { width, height, bytes });
    }
    Ok(())
}

/// Brings any kind of pixels to 8-bit RGB, composited on white where there is transparency.
pub(crate) fn flatten(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        [red, green, blue].map(|value| over_white(value, alpha)).into()
    })
}

/// `value` at opacity `alpha` over 255, rounded to the nearest level.
fn over_white(value: u8, alpha: u8) -> u8 {
    255 - fraction(255 - value, alpha)
}

/// `value * share / 255`, rounded to the nearest level.
pub(crate) fn fraction(value: u8, share: u8) -> u8 {
    ((u32::from(value) * u32::from(share) + 127) / 255) as u8
}

/// Turns a picture into what the vision tower takes: `[3, size, size]`, row-major, in -1..=1.
///
/// The picture is squashed to a square by [`resize`], and its 8-bit values become
/// `(x / 255 - 0.5) / 0.5`, as `SiglipImageProcessor` of the reference does.
pub fn preprocess(picture: &RgbImage, size: usize) -> Vec<f32> {
    let square = resize(picture, size);
    (0..3)
        .flat_map(|channel| square.pixels().map(move |pixel| pixel[channel]))
        .map(|value| (f32::from(value) / 255.0 - 0.5) / 0.5)
        .collect()
}
