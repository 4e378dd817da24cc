//! `pages`: pages in the order in which they answer a query, by a ColPali.

use std::path::PathBuf;

use clap::Args;
use paligemma_processor::open_picture;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
use crate::{output, wire};

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
        self.model.begin()?;
        let place = self.model.locate()?;
        let retriever = self.model.retriever(&place)?;
        let query = retriever.query(&self.text)?;
        let mut scores = Vec::with_capacity(self.images.len());
        for path in &self.images {
            let picture = open_picture(path).map_err(paligemma::Error::from)?;
            scores.push((path.display().to_string(), query.score(&retriever.page(&picture)?)));
        }
        scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        if self.json.json {
            return output::json(&wire::Pages::new(&self.text, &scores));
        }
        let rows = scores.iter().map(|(path, score)| [format!("{score:.4}"), path.clone()]);
        output::table(&rows.collect::<Vec<_>>())
    }
}
