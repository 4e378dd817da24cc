//! A clip in any form: what the processor reads, or a video through the user's ffmpeg.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use paligemma::image::RgbImage;
use paligemma_processor::{Clip, ClipError};

use crate::error::Error;

/// A clip whose frames were counted.
#[derive(Debug)]
pub(crate) enum Film {
    /// Pictures.
    Clip(Clip),
    /// A video.
    Video { path: PathBuf, frames: usize },
}

impl Film {
    /// Opens a clip; a file that is no picture is taken for a video.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        match Clip::open(path) {
            Err(ClipError::NotPictures { path }) => {
                let frames = count(&path)?;
                Ok(Self::Video { path, frames })
            }
            clip => Ok(Self::Clip(clip?)),
        }
    }

    /// How many frames there are.
    pub(crate) fn frames(&self) -> usize {
        match self {
            Self::Clip(clip) => clip.frames(),
            Self::Video { frames, .. } => *frames,
        }
    }

    /// The frames at these places, which count from zero and ascend.
    pub(crate) fn read(&self, places: &[usize]) -> Result<Vec<RgbImage>, Error> {
        match self {
            Self::Clip(clip) => Ok(clip.read(places)?),
            Self::Video { path, .. } => read(path, places),
        }
    }
}

/// Counts the frames of a video's first stream by its packets: nothing is decoded.
fn count(path: &Path) -> Result<usize, Error> {
    let output = ffmpeg(path, &["-c", "copy", "-f", "null", "-"])?;
    // The report has a line `frame=N` each time it is made; the last one counts.
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut counts = report.lines().filter_map(|line| line.strip_prefix("frame="));
    match counts.next_back().and_then(|count| count.trim().parse().ok()) {
        Some(frames) if frames > 0 => Ok(frames),
        _ => Err(Error::NotVideo { path: path.to_owned(), said: "it has no frames".to_owned() }),
    }
}

/// Has frames of a video written into a folder that is gone afterwards, and reads them.
fn read(path: &Path, places: &[usize]) -> Result<Vec<RgbImage>, Error> {
    let folder = tempfile::tempdir().map_err(Error::Temporary)?;
    let wanted: Vec<String> = places.iter().map(|place| format!("eq(n\\,{place})")).collect();
    // One frame a second in and out: none is doubled or dropped to keep the video's pace.
    let filter = format!("select='{}',setpts=N/TB", wanted.join("+"));
    let (count, files) = (places.len().to_string(), folder.path().join("%d.png"));
    let files = files.to_string_lossy();
    let pace = ["-vf", &filter, "-r", "1", "-frames:v", &count];
    ffmpeg(path, &[&pace[..], &["-pix_fmt", "rgb24", "-f", "image2", &*files]].concat())?;
    let missing =
        |there| Error::FramesMissing { path: path.to_owned(), asked: places.len(), there };
    match Clip::open(folder.path()) {
        Ok(clip) if clip.frames() == places.len() => {
            let all: Vec<usize> = (0..places.len()).collect();
            Ok(clip.read(&all)?)
        }
        Ok(clip) => Err(missing(clip.frames())),
        Err(ClipError::NoPictures { .. }) => Err(missing(0)),
        Err(error) => Err(error.into()),
    }
}

/// Runs ffmpeg on the first video stream of a file.
fn ffmpeg(path: &Path, what: &[&str]) -> Result<Output, Error> {
    // A name is a file's, whatever it begins with, and no file may lead to others on the net.
    let mut input = OsString::from("file:");
    input.push(path);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-progress", "pipe:1"]);
    command.args(["-protocol_whitelist", "file", "-i"]).arg(input);
    command.args(["-map", "0:v:0"]).args(what).stdin(Stdio::null());
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoFfmpeg { path: path.to_owned() },
        _ => Error::Ffmpeg(source),
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or("it failed without a word").to_owned();
    Err(Error::NotVideo { path: path.to_owned(), said })
}
