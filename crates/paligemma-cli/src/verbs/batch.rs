//! `batch`: one prompt over many pictures, with results in a file.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use paligemma_batch::{Job, Output, Shard, Summary, rows, run};
use paligemma_processor::TokenizerError;

use crate::args::{AnswerArgs, ModelArgs};
use crate::bar::Bar;
use crate::error::Error;
use crate::interrupt::stop_at_interrupt;
use crate::{output, wire};

/// Many pictures to answer a prompt about.
#[derive(Args, Debug)]
pub(crate) struct Batch {
    /// A folder, a picture, a pattern such as "photos/**/*.jpg", or a .jsonl file with a row such as
    /// {"image": "a.png", "prompt": "caption en"} on each line
    #[arg(value_name = "FOLDER|PATTERN|ROWS")]
    source: String,
    /// The prompt of all rows that have none of their own
    #[arg(long)]
    prompt: Option<String>,
    /// The results, a row for each: NAME.jsonl or NAME.parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Go on with results that were begun, after an interrupt
    #[arg(long)]
    resume: bool,
    /// Only every Nth row, from the Ith on, for as many machines: 1/N to N/N
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How many rows are answered together
    #[arg(long, value_name = "N", default_value = "8")]
    batch_size: NonZeroUsize,
    /// End with a failure if any row has no answer, not only if none has
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
}

impl Batch {
    /// Whether new results can be written is seen before the model is opened; whether others are
    /// of this model, after it.
    pub(crate) fn run(self) -> Result<(), Error> {
        let options = self.answer.options()?;
        if self.prompt.as_ref().is_some_and(|prompt| prompt.trim().is_empty()) {
            return Err(paligemma::Error::from(TokenizerError::EmptyPrompt).into());
        }
        self.model.begin()?;
        let rows = rows(&self.source, self.prompt.as_deref())?;
        let rows = match self.shard {
            Some(shard) => shard.of(rows),
            None => rows,
        };
        let new = if self.resume { None } else { Some(Output::create(&self.out)?) };
        let stop = stop_at_interrupt()?;
        let model = self.model.open(&self.model.locate()?)?;
        let weights = format!("{} in {}", model.fingerprint(), model.dtype());
        let job = Job { rows, model: weights, options };
        let results = match new {
            Some(results) => results,
            None => Output::resume(&self.out, &job)?,
        };
        let bar = Bar::of_items("rows");
        let summary = run(&model, &job, &results, self.batch_size.get(), |summary| {
            bar.show(summary.done, summary.rows);
            let stopped = stop.load(Ordering::Relaxed);
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        bar.clear();
        self.end(summary)
    }

    /// Says how it went.
    fn end(self, Summary { rows, done, failed }: Summary) -> Result<(), Error> {
        if done < rows {
            return Err(Error::Interrupted { done, rows });
        }
        let all = failed == rows && rows > 0;
        if all || self.strict && failed > 0 {
            return Err(Error::RowsFailed { failed, rows, out: self.out });
        }
        if failed > 0 {
            let out = self.out.display();
            let note = format!("{failed} of {rows} rows have no answer: see \"error\" in {out}");
            writeln!(std::io::stderr(), "{note}").ok();
        }
        if self.answer.json.json {
            return output::json(&wire::Batch::new(rows, failed, &self.out));
        }
        Ok(())
    }
}
