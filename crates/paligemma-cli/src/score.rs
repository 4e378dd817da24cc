//! `score`: how probable given answers are.

use paligemma::Candidate;

use crate::error::Error;
use crate::plan::Query;
use crate::session::Session;
use crate::{output, wire};

/// Weighs the candidates, in the order given.
pub(crate) fn run(query: Query, candidates: &[String]) -> Result<(), Error> {
    let json = query.json;
    let Session { model, scene, prompt, .. } = Session::open(query)?;
    let scored = model.score(&scene, &prompt, candidates)?;
    if json {
        return output::json(&wire::Scores::new(&scored));
    }
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
