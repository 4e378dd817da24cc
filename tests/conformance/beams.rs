//! Beam search: the answers that the reference finds, with their scores.

use paligemma::{Beam, BeamSearch, Constraint, Session};
use paligemma_nn::NnBackend;

use super::bench::values;
use super::decoding::STEPS;
use super::{Bench, Measured};

/// The token that is never chosen, as the reference rules where it is to make all tokens.
#[derive(Debug)]
struct Never(u32);

impl Constraint for Never {
    fn mask(&self, _: &[u32], _: usize, logits: &mut [f32]) {
        logits[self.0 as usize] = f32::NEG_INFINITY;
    }
}

fn run<B: NnBackend>(bench: &Bench<B>, limit: usize, mut search: BeamSearch<'_>) -> Vec<Beam> {
    let mut session = Session::prefill(&bench.model, &bench.prompts("a"), limit);
    while let Some(step) = search.advance(&values(session.logits())) {
        session.select(&step.rows);
        session.advance(&step.tokens);
    }
    search.finish()
}

/// A golden case: three beams, of which the best or all were kept.
pub(super) fn golden<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let eos = bench.config.eos_token_id;
    let never = Never(eos);
    let rule: Option<&dyn Constraint> = if case == "e_beam3_eos" { None } else { Some(&never) };
    let found = run(bench, STEPS, BeamSearch::new(3, STEPS, eos, rule));
    let scores = bench.golden.floats(&format!("{case}.sequences_scores"));
    let sequences = bench.golden.integers(&format!("{case}.sequences"));
    let length = sequences.len() / scores.len();
    let answers: Vec<Vec<i64>> =
        sequences.chunks(length).map(|row| row[length - STEPS..].to_vec()).collect();
    compare(bench, case, &found[..answers.len()], eos, (&answers, &scores)).into()
}

/// Answers of different lengths, and searches that stop before their limit.
pub(super) fn ending<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let searches = bench.golden.searches().into_iter();
    let measured = searches.flat_map(|known| {
        let limit = known.max_new_tokens;
        let found = run(bench, limit, BeamSearch::new(known.num_beams, limit, known.eos, None));
        let what = format!("{} beams to {}", known.num_beams, known.eos);
        compare(bench, &what, &found, known.eos, (&known.answers, &known.scores))
    });
    measured.collect()
}

fn compare<B: NnBackend>(
    bench: &Bench<B>,
    what: &str,
    found: &[Beam],
    eos: u32,
    (answers, scores): (&[Vec<i64>], &[f32]),
) -> [Measured; 2] {
    let tokens = |beam: &Beam| {
        let end = beam.end_log_probability.map(|_| eos);
        beam.token_ids.iter().copied().chain(end).map(i64::from).collect::<Vec<_>>()
    };
    let ours: Vec<Vec<i64>> = found.iter().map(tokens).collect();
    let ours_scores: Vec<f32> = found.iter().map(Beam::score).collect();
    [
        Measured::exact(format!("{what}: answers that differ"), &ours, answers),
        Measured::difference(format!("{what}: scores"), &ours_scores, scores, bench.tolerance()),
    ]
}
