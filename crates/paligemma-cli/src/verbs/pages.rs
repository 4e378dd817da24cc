//! `pages`: pages in the order in which they answer a query, by a ColPali.

use std::path::PathBuf;

use clap::Args;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
use crate::{output, pictures, wire};

/// A query, and pages that may answer it.
#[derive(Args, Debug)]
pub(crate) struct Pages {
    /// Pictures of pages
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// What is looked for
    #[arg(long, value_name = "QUERY")]
    text: String,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl Pages {
    /// Orders the pages, the best first.
    pub(crate) fn run(self) -> Result<(), Error> {
        pictures::check_any(&self.images)?;
        self.model.begin()?;
        let retriever = self.model.retriever(&self.model.locate()?)?;
        let query = retriever.query(&self.text)?;
        let all = pictures::each(&self.images, |path| {
            Ok(query.score(&retriever.page(&pictures::read(path)?)?))
        })?;
        let scored = all.iter().filter_map(|(path, score)| Some((&**path, *score.as_ref().ok()?)));
        let mut scores: Vec<_> = scored.collect();
        scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        if self.json.json {
            output::json(&wire::Pages::new(&self.text, &scores, &all))?;
        } else {
            let rows = scores.iter().map(|(path, score)| [format!("{score:.4}"), (*path).into()]);
            output::table(&rows.collect::<Vec<_>>())?;
        }
        pictures::conclude(&all)
    }
}
