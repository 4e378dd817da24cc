//! `index` and `search`: a folder of pictures kept, and what is found in it.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use paligemma_search::{Found, Index, Report, TextSearch, update};

use crate::args::{JsonArgs, ModelArgs};
use crate::bar::Bar;
use crate::error::Error;
use crate::{output, pictures, wire};

/// A folder of pictures to keep for searches.
#[derive(Args, Debug)]
pub(crate) struct IndexVerb {
    /// The folder, with all folders in it
    folder: PathBuf,
    /// Where the index is kept, for `search`; where there is one, new and changed pictures are added
    #[arg(long, value_name = "INDEX")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// What to look for.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("asked").args(["image", "text"]).required(true)))]
pub(crate) struct Search {
    /// What `index` wrote
    index: PathBuf,
    /// Find the pictures that look most like this one
    #[arg(long)]
    image: Option<PathBuf>,
    /// Find the pictures that make this text likeliest, as a caption would say it
    #[arg(long)]
    text: Option<String>,
    /// Show the N best pictures
    #[arg(long, value_name = "N", default_value = "10")]
    top: NonZeroUsize,
    /// Hold the text against the N pictures whose captions share most words with it
    #[arg(long, value_name = "N", default_value = "100", conflicts_with = "image")]
    shortlist: NonZeroUsize,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl IndexVerb {
    /// Brings the index up to date; pictures that cannot be read are reported.
    pub(crate) fn run(self) -> Result<(), Error> {
        let model = pictures::open_model(&[], &self.model)?;
        let bar = Bar::of_items("pictures");
        let report = update(&model, &self.folder, &self.out, |progress| {
            bar.show(progress.done, progress.total);
        })?;
        bar.clear();
        if self.json.json {
            return output::json(&wire::Indexed::new(&report));
        }
        show_report(&report)
    }
}

impl Search {
    /// What was found, best first.
    pub(crate) fn run(self) -> Result<(), Error> {
        let model = pictures::open_model(self.image.as_slice(), &self.model)?;
        let index = Index::open(&self.index, &model)?;
        let top = self.top.get();
        let found = match (&self.image, &self.text) {
            (Some(image), _) => index.search_image(&pictures::read(image)?, top)?,
            (None, text) => {
                let how = TextSearch { top, shortlist: self.shortlist.get() };
                index.search_text(text.as_deref().unwrap_or_default(), &how)?
            }
        };
        if self.json.json {
            return output::json(&wire::Search::new(&found));
        }
        show_found(&found)
    }
}

fn show_report(report: &Report) -> Result<(), Error> {
    for failed in &report.failed {
        let line = format!("{}: {}", failed.path.display(), failed.error);
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(std::io::stderr(), "left out: {line}").ok();
    }
    let Report { added, unchanged, removed, failed } = report;
    let (all, failed) = (added + unchanged, failed.len());
    output::text(&format!(
        "{all} pictures: {added} added, {unchanged} unchanged; {removed} removed, {failed} left out\n"
    ))
}

fn show_found(found: &[Found]) -> Result<(), Error> {
    if found.is_empty() {
        // For a person: a script sees an empty output.
        let why = "no caption shares a word with the text; a larger --shortlist asks more pictures";
        writeln!(std::io::stderr(), "{why}").ok();
        return Ok(());
    }
    let head = ["score", "picture", "caption"].map(str::to_owned);
    let row = |found: &Found| {
        [format!("{:.3}", found.score), pictures::name(&found.path), found.caption.clone()]
    };
    output::table(&std::iter::once(head).chain(found.iter().map(row)).collect::<Vec<_>>())
}
