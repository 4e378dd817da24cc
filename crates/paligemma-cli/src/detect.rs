//! `detect`: boxes as lines, as an object, and drawn into a copy of the picture.

use std::fmt::Write as _;
use std::io::Write as _;

use paligemma::{Options, tasks};

use crate::draw::{self, OutFile};
use crate::error::Error;
use crate::plan::Query;
use crate::session::Session;
use crate::{output, wire};

/// Looks for things; the drawing is written before anything is printed.
pub(crate) fn run(query: Query, options: Options, out: Option<&OutFile>) -> Result<(), Error> {
    let json = query.json;
    let session = Session::open(query)?;
    let (answer, timings) = session.answer(options, |_| Ok(()))?;
    // A plan to detect has one picture.
    let picture = &session.pictures[0];
    let boxes = tasks::boxes(&answer, session.model.tokenizer(), picture.dimensions());
    if let Some(out) = out {
        out.write(&draw::draw(picture, &boxes))?;
    }
    if json {
        return output::json(&wire::Detection::new(&answer, timings, &boxes));
    }
    let mut lines = String::new();
    for found in &boxes {
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
