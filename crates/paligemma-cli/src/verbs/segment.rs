//! `segment`: things cut out, as lines, as an object, as a drawing and as masks.

use std::path::PathBuf;

use clap::Args;
use paligemma::Segment as Found;
use paligemma::tasks::segmentation_prompt;
use paligemma_overlay::{Thing, draw};

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
    /// Also write each mask as a PNG of the size of the picture, white where the thing is
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
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
        let query = Query::new(vec![self.image], segmentation_prompt(&things)?, self.model)?;
        let out = self.out.map(OutFile::new).transpose()?;
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
            let names = segments.iter().enumerate().map(name);
            masks.write(names.zip(segments.iter().map(|segment| segment.mask.to_picture())))?;
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

/// The name of a mask's file: its place in the answer, and what of its label any system allows.
fn name((index, segment): (usize, &Found)) -> String {
    let plain = |letter: char| if letter.is_alphanumeric() { letter } else { '_' };
    let label: String = segment.found.label.chars().take(40).map(plain).collect();
    format!("{index:03}_{label}")
}
