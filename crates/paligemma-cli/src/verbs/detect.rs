//! `detect`: boxes as lines, as an object, and drawn into a copy of the picture.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use paligemma::DetectedBox;
use paligemma::tasks::detection_prompt;
use paligemma_overlay::{Thing, draw};

use crate::args::{LookArgs, ModelArgs};
use crate::error::Error;
use crate::files::OutFile;
use crate::session::{Query, Session};
use crate::{output, wire};

/// Things to look for in a picture.
#[derive(Args, Debug)]
pub(crate) struct Detect {
    /// The picture
    image: PathBuf,
    /// What to look for, as in "car ; person"
    things: String,
    /// Also draw the boxes into a copy of the picture (.png, .jpg or .webp)
    #[arg(long, value_name = "PICTURE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    look: LookArgs,
}

impl Detect {
    /// The drawing is written before anything is printed.
    pub(crate) fn run(self) -> Result<(), Error> {
        let things: Vec<&str> = self.things.split(';').collect();
        let out = self.out.map(|out| OutFile::new(out, &self.image)).transpose()?;
        let query = Query::new(vec![self.image], detection_prompt(&things)?, self.model)?;
        let options = self.look.options()?;
        let session = Session::open(query)?;
        let tokenizer = session.model.tokenizer();
        let request = options.request(session.scene.clone(), &things, tokenizer)?;
        let (answer, timings) = session.answer(&request, |_| Ok(()))?;
        // This verb has one picture.
        let picture = &session.pictures[0];
        let boxes = options.boxes(&answer, tokenizer, picture.dimensions());
        if let Some(out) = out {
            let things: Vec<Thing<'_>> = boxes.iter().map(thing).collect();
            out.write(draw(picture, &things))?;
        }
        if self.look.answer.json.json {
            return output::json(&wire::Detection::new(&answer, timings, &boxes));
        }
        show(boxes.iter().map(line))
    }
}

/// A box as it is drawn.
pub(super) fn thing(found: &DetectedBox) -> Thing<'_> {
    let edges = found.edges();
    Thing { label: &found.label, confidence: Some(found.confidence), edges, mask: None }
}

/// A box as text.
pub(super) fn line(found: &DetectedBox) -> String {
    let DetectedBox { label, x0, y0, x1, y1, confidence } = found;
    format!("{label} {confidence:.2} {x0:.1} {y0:.1} {x1:.1} {y1:.1}")
}

/// Prints a line for each thing.
pub(super) fn show(lines: impl Iterator<Item = String>) -> Result<(), Error> {
    let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
    if text.is_empty() {
        // For a person: a script sees an empty output.
        writeln!(std::io::stderr(), "nothing was found").ok();
    }
    output::text(&text)
}
