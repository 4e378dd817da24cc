//! `caption`, `ask`, `ocr` and `generate`: text as it is made, or one object.

use paligemma::Options;

use crate::error::Error;
use crate::plan::Query;
use crate::session::Session;
use crate::{output, wire};

/// Answers a query.
pub(crate) fn run(query: Query, options: Options) -> Result<(), Error> {
    let json = query.json;
    let session = Session::open(query)?;
    if json {
        let (answer, timings) = session.answer(options, |_| Ok(()))?;
        return output::json(&wire::Answer::new(&answer, timings));
    }
    let mut begun = false;
    let made = session.answer(options, |piece| {
        begun = true;
        output::text(piece)
    });
    // What has been written of an answer that fails stands on its own line too.
    if begun || made.is_ok() {
        output::text("\n")?;
    }
    made.map(drop)
}
