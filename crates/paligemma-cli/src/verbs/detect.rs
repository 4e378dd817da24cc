//! `detect`: boxes as lines, as an object, and drawn into a copy of the picture.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use paligemma::DetectedBox;
use paligemma::tasks::{self, detection_prompt};

use crate::args::{AnswerArgs, ModelArgs};
use crate::draw::{self, OutFile};
use crate::error::Error;
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
    answer: AnswerArgs,
}

impl Detect {
    /// The drawing is written before anything is printed.
    pub(crate) fn run(self) -> Result<(), Error> {
        let things: Vec<&str> = self.things.split(';').collect();
        let query = Query::new(vec![self.image], detection_prompt(&things)?, self.model)?;
        let out = self.out.map(OutFile::new).transpose()?;
        let options = self.answer.options()?;
        let session = Session::open(query)?;
        let (answer, timings) = session.answer(options, |_| Ok(()))?;
        // This verb has one picture.
        let picture = &session.pictures[0];
        let boxes = tasks::boxes(&answer, session.model.tokenizer(), picture.dimensions());
        if let Some(out) = out {
            out.write(&draw::draw(picture, &boxes))?;
        }
        if self.answer.json.json {
            return output::json(&wire::Detection::new(&answer, timings, &boxes));
        }
        show(&boxes)
    }
}

fn show(boxes: &[DetectedBox]) -> Result<(), Error> {
    let mut lines = String::new();
    for found in boxes {
        let [x0, y0, x1, y1] = [found.x0, found.y0, found.x1, found.y1];
        let (label, sure) = (&found.label, found.confidence);
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{label} {sure:.2} {x0:.1} {y0:.1} {x1:.1} {y1:.1}");
    }
    if boxes.is_empty() {
        // For a person: a script sees an empty output.
        writeln!(std::io::stderr(), "nothing was found").ok();
    }
    output::text(&lines)
}
