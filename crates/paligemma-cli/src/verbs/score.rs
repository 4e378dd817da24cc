//! `score`: how probable given answers are.

use std::path::PathBuf;

use clap::Args;
use paligemma::Candidate;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
use crate::session::{Query, Session};
use crate::{output, wire};

/// Answers to weigh.
#[derive(Args, Debug)]
pub(crate) struct Score {
    /// The pictures
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// The prompt as the model was trained on it
    #[arg(long)]
    prompt: String,
    /// An answer; may be given many times
    #[arg(long = "candidate", required = true, value_name = "ANSWER")]
    candidates: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl Score {
    /// Weighs the candidates, in the order given.
    pub(crate) fn run(self) -> Result<(), Error> {
        let query = Query::new(self.images, self.prompt, self.model)?;
        let Session { model, scene, prompt, .. } = Session::open(query)?;
        let scored = model.score(&scene, &prompt, &self.candidates)?;
        if self.json.json {
            return output::json(&wire::Scores::new(&scored));
        }
        show(&scored)
    }
}

fn show(scored: &[Candidate]) -> Result<(), Error> {
    let head = ["total", "mean", "probability", "answer"].map(str::to_owned);
    let row = |candidate: &Candidate| {
        let (total, mean) = (candidate.total(), candidate.mean());
        let probability = total.exp();
        [
            format!("{total:.3}"),
            format!("{mean:.3}"),
            format!("{probability:.6}"),
            candidate.text.clone(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(scored.iter().map(row)).collect();
    output::table(&rows)
}
