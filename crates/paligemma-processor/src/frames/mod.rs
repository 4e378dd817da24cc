//! A clip as frames: a folder of pictures, an animation, or a single picture.

mod animation;
mod choice;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};

pub use choice::{DEFAULT_FRAMES, FrameChoice};

use crate::folder::pictures_in;
use crate::{PictureError, open_picture};

/// The most frames a clip may have.
pub const MAX_FRAMES: usize = 100_000;

/// Why a clip could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// The file is of no picture format: it may be a video.
    #[error("{} is not a picture or an animation: give a folder of frames, GIF, WebP or PNG", path.display())]
    NotPictures {
        /// The file.
        path: PathBuf,
    },
    /// A folder or file could not be read at all.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder holds no picture.
    #[error("no picture is in the folder {}: give a folder of PNG, JPEG, WebP, GIF, BMP or TIFF files", path.display())]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
    /// An animation has no frame.
    #[error("the animation {} has no frames: it may be damaged, save it anew", path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
    },
    /// The clip is longer than is worth reading.
    #[error("{} has more than {MAX_FRAMES} frames: cut it", path.display())]
    TooLong {
        /// The clip.
        path: PathBuf,
    },
    /// There are fewer frames than were asked for.
    #[error("{asked} frames were asked for, the clip has {there}{}: ask for {there} or fewer", at(*stride))]
    TooFew {
        /// Frames asked for.
        asked: usize,
        /// Frames that can be chosen.
        there: usize,
        /// Frames from one chosen frame to the next, if that was asked for.
        stride: Option<usize>,
    },
    /// A frame cannot be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

fn at(stride: Option<usize>) -> String {
    stride.map_or_else(String::new, |stride| format!(" at a stride of {stride}"))
}

/// A clip that was found sound enough to count its frames.
///
/// ```no_run
/// use paligemma_processor::{Clip, ClipError, FrameChoice};
///
/// # fn main() -> Result<(), ClipError> {
/// let clip = Clip::open("clip.gif".as_ref())?;
/// let chosen = FrameChoice { count: Some(4), stride: None }.of(clip.frames())?;
/// let pictures = clip.read(&chosen)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Clip {
    path: PathBuf,
    source: Source,
    frames: usize,
}

#[derive(Debug)]
enum Source {
    Folder(Vec<PathBuf>),
    Animation(ImageFormat),
    Still,
}

impl Clip {
    /// Opens a folder of pictures, whose names are put in their natural order (`frame2` before
    /// `frame10`), an animated GIF, WebP or PNG, or a still picture, which is one frame.
    ///
    /// # Errors
    /// [`ClipError::NotPictures`] for a file of another kind, as videos are; otherwise if nothing
    /// can be read, there is no frame, or there are more than [`MAX_FRAMES`].
    pub fn open(path: &Path) -> Result<Self, ClipError> {
        let (source, frames) = if path.is_dir() {
            let failed = |source| ClipError::Read { path: path.to_owned(), source };
            let files = pictures_in(path).map_err(failed)?.pictures;
            let frames = files.len();
            (Source::Folder(files), frames)
        } else {
            let format = format_of(path)?;
            match animation::count(path, format)? {
                Some(frames) => (Source::Animation(format), frames),
                None => (Source::Still, 1),
            }
        };
        let path = path.to_owned();
        match frames {
            0 if path.is_dir() => Err(ClipError::NoPictures { path }),
            0 => Err(ClipError::NoFrames { path }),
            _ if frames > MAX_FRAMES => Err(ClipError::TooLong { path }),
            _ => Ok(Self { path, source, frames }),
        }
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// The frames at these places, which count from zero and ascend.
    ///
    /// # Errors
    /// If a frame cannot be read, or there is none at a place.
    pub fn read(&self, places: &[usize]) -> Result<Vec<RgbImage>, ClipError> {
        if let Some(place) = places.iter().find(|&&place| place >= self.frames) {
            return Err(ClipError::TooFew { asked: place + 1, there: self.frames, stride: None });
        }
        let picture = |path| open_picture(path).map_err(ClipError::from);
        match &self.source {
            Source::Folder(files) => places.iter().map(|&place| picture(&files[place])).collect(),
            Source::Animation(format) => animation::read(&self.path, *format, places),
            Source::Still => places.iter().map(|_| picture(&self.path)).collect(),
        }
    }
}

/// The picture format that a file's first bytes say.
fn format_of(path: &Path) -> Result<ImageFormat, ClipError> {
    let mut start = Vec::new();
    // Longer than any signature of a picture.
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    read.map_err(|source| ClipError::Read { path: path.to_owned(), source })?;
    match image::guess_format(&start) {
        Ok(format) if format.reading_enabled() => Ok(format),
        _ => Err(ClipError::NotPictures { path: path.to_owned() }),
    }
}
