//! Loss and log-probabilities of answers, as training computes them.

use paligemma_nn::NnBackend;
use paligemma_train::{Loss, Row, Rows, suffix_loss};

use super::bench::{log_probability, values};
use super::{Bench, Measured};
use crate::reference::{self, Tiny};

/// The rows of a case as a batch of examples, one picture each.
pub(super) fn batch(golden: Tiny, case: &str) -> Rows {
    let rows = golden.rows(case).into_iter().enumerate();
    let example = |(picture, row): (usize, reference::Row)| Row {
        pictures: vec![picture],
        prefix: row.prefix(),
        suffix: row.suffix(),
    };
    Rows::new(rows.map(example).collect())
}

/// The reference takes the mean over all answer tokens of a batch; training takes the mean per
/// example, then over the batch. Both are compared, from the same log-probabilities.
pub(super) fn loss<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let (golden, tolerance) = (bench.golden, bench.tolerance());
    let theirs = answers(golden, case, &golden.floats(&format!("{case}.logits")));
    let ours = answers(golden, case, &bench.logits(case));
    let tokens = |answers: &[Vec<f32>]| answers.concat();
    let examples = |answers: &[Vec<f32>]| answers.iter().map(|row| mean(row)).collect::<Vec<_>>();

    let batch = batch(golden, case);
    let features = bench.model.encode(bench.pixels(case));
    let loss = values(suffix_loss(
        &bench.model,
        features,
        &batch,
        bench.config.pad_token_id,
        Loss::default(),
    ));
    let prompts = bench.prompts(case);
    let suffixes: Vec<Vec<u32>> = batch.rows().iter().map(|row| row.suffix.clone()).collect();
    let longest = suffixes.iter().map(Vec::len).max().unwrap_or(0);
    let scored =
        paligemma::Session::prefill(&bench.model, &prompts, longest).log_probabilities(&suffixes);

    let mut measured = vec![
        Measured::difference("log-probabilities", &tokens(&ours), &tokens(&theirs), tolerance),
        Measured::difference("session's", &tokens(&scored), &tokens(&theirs), tolerance),
        Measured::difference(
            "the reference's loss",
            &[-mean(&tokens(&ours))],
            &golden.floats(&format!("{case}.loss")),
            tolerance,
        ),
        Measured::difference("training loss", &loss, &[-mean(&examples(&theirs))], tolerance),
    ];
    if case == "b" {
        let theirs = golden.floats("b.suffix_logprobs");
        measured.push(Measured::difference("suffix_logprobs", &tokens(&ours), &theirs, tolerance));
    }
    measured
}

/// Log-probabilities of every row's answer tokens under `logits`, `[R, L, V]`.
fn answers(golden: Tiny, case: &str, logits: &[f32]) -> Vec<Vec<f32>> {
    let rows = golden.rows(case);
    let length = rows[0].tokens.len();
    let vocabulary = logits.len() / (rows.len() * length);
    let row = |(index, row): (usize, &reference::Row)| {
        let slots = row.predicting().into_iter().zip(row.suffix());
        let one = |(slot, token)| {
            let start = (index * length + slot) * vocabulary;
            log_probability(&logits[start..start + vocabulary], token)
        };
        slots.map(one).collect()
    };
    rows.iter().enumerate().map(row).collect()
}

fn mean(values: &[f32]) -> f32 {
    let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
    (sum / values.len() as f64) as f32
}
