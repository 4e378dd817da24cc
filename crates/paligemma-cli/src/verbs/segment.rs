//! `segment`: things cut out, as lines, as an object, as a drawing and as masks.

use std::path::{Path, PathBuf};

use clap::Args;
use paligemma::Segment as Found;
use paligemma::image::DynamicImage;
use paligemma::tasks::segmentation_prompt;
use paligemma_overlay::{Thing, draw};
use sha2::{Digest, Sha256};

use super::detect::{line, show, thing};
use crate::args::{LookArgs, ModelArgs};
use crate::error::Error;
use crate::files::{OutFile, OutFolder};
use crate::session::{Query, Session};
use crate::{output, wire};

/// Things to cut out of a picture.
#[derive(Args, Debug)]
pub(crate) struct Segment {
    /// The picture
    image: PathBuf,
    /// What to cut out, as in "car ; person"
    things: String,
    /// Also draw the masks into a copy of the picture (.png, .jpg or .webp)
    #[arg(long, value_name = "PICTURE")]
    out: Option<PathBuf>,
    /// Also write each mask as a PNG of the size of the picture, white where the thing is, in place
    /// of those that an earlier run wrote of a picture of this name
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Write into --masks what the pixels were decided by: 16-bit grey, the thing from 32768 on
    #[arg(long, requires = "masks")]
    soft: bool,
    /// The mask VQ-VAE, .npz or .safetensors, if it is not in the model's folder
    #[arg(long, value_name = "FILE")]
    mask_model: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    look: LookArgs,
}

impl Segment {
    /// Pictures are written before anything is printed.
    pub(crate) fn run(self) -> Result<(), Error> {
        let things: Vec<&str> = self.things.split(';').collect();
        let files = MaskNames::of(&self.image);
        let out = self.out.map(|out| OutFile::new(out, &self.image)).transpose()?;
        let query = Query::new(vec![self.image], segmentation_prompt(&things)?, self.model)?;
        let masks = self.masks.map(OutFolder::new).transpose()?;
        let options = self.look.options()?;
        let session = Session::open_with_masks(query, self.mask_model.as_deref())?;
        let request = options.segmentation_request(
            session.scene.clone(),
            &things,
            session.model.tokenizer(),
        )?;
        let (answer, timings) = session.answer(&request, |_| Ok(()))?;
        // This verb has one picture.
        let picture = &session.pictures[0];
        let segments = session.model.segments(&answer, &things, picture.dimensions(), &options)?;
        if let Some(out) = out {
            let things: Vec<Thing<'_>> = segments
                .iter()
                .map(|segment| Thing { mask: Some(&segment.mask), ..thing(&segment.found) })
                .collect();
            out.write(draw(picture, &things))?;
        }
        if let Some(masks) = masks {
            let names = segments.iter().enumerate().map(|(place, found)| files.name(place, found));
            let soft = self.soft;
            let picture = |found: &Found| -> DynamicImage {
                if soft { found.soft.to_picture().into() } else { found.mask.to_picture().into() }
            };
            masks.write(names.zip(segments.iter().map(picture)), |name| files.is_one(name))?;
        }
        if self.look.answer.json.json {
            return output::json(&wire::Segmentation::new(&answer, timings, &segments));
        }
        show(
            segments
                .iter()
                .map(|segment| format!("{} {}", line(&segment.found), segment.mask.area())),
        )
    }
}

/// What the files of a picture's masks are called: `street.000.car`, without its ending.
struct MaskNames {
    start: String,
}

impl MaskNames {
    /// A name that had to be changed gets digits of its own, so that no two become one.
    fn of(picture: &Path) -> Self {
        let name = picture.file_stem().unwrap_or_default().to_string_lossy();
        let start = plain(&name);
        if start == name {
            return Self { start };
        }
        let digest = Sha256::digest(name.as_bytes());
        let digits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Self { start: format!("{start}~{digits:08x}") }
    }

    /// The name of a mask: its picture, its place in the answer, and its label.
    fn name(&self, place: usize, Found { found, .. }: &Found) -> String {
        format!("{}.{place:03}.{}", self.start, plain(&found.label))
    }

    /// Whether a file of this name is a mask of such a picture.
    fn is_one(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.start).and_then(|rest| rest.strip_prefix('.'));
        let rest = rest.and_then(|rest| rest.strip_suffix(".png")?.split_once('.'));
        rest.is_some_and(|(place, label)| {
            place.len() >= 3
                && place.bytes().all(|digit| digit.is_ascii_digit())
                && !label.contains('.')
        })
    }
}

/// What of a text any system allows in a name, and no point.
fn plain(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || letter == '-';
    let plain = |letter: char| if is_plain(letter) { letter } else { '_' };
    text.chars().take(40).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_masks_of_the_picture_are_known_as_such() {
        let names = MaskNames::of("in/street-1.jpg".as_ref());
        for (name, is) in [
            ("street-1.000.car.png", true),
            ("street-1.1000.car.png", true),
            ("street-1.002..png", true),
            ("street-2.000.car.png", false),
            ("street_1.000.car.png", false),
            ("street-1.png", false),
            ("street-1.000.png", false),
            ("street-1.0a0.car.png", false),
            ("street-1.000.car.jpg", false),
            ("street-1.000.car.old.png", false),
            ("my street-1.000.car.png", false),
        ] {
            assert_eq!(names.is_one(name), is, "{name}");
        }
    }

    #[test]
    fn pictures_of_different_names_have_masks_of_different_names() {
        let long = "a name that has more letters than are kept of it, number";
        let names = ["a 1", "a_1", "a-1", "a.1", "a~1", &format!("{long} 1"), &format!("{long} 2")];
        let starts = names.map(|name| MaskNames::of(format!("{name}.jpg").as_ref()).start);
        for (i, start) in starts.iter().enumerate() {
            assert!(start.len() < 60 && !start.contains('.'), "{start}");
            assert!(!starts[..i].contains(start), "{start}");
        }
        assert_eq!(starts[1], "a_1");
    }
}
