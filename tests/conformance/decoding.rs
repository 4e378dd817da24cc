//! Decoding with the cache: tokens, logits of every step, log-probabilities.

use paligemma::{Prompt, Session};
use paligemma_nn::NnBackend;

use super::bench::{best, log_probability, values};
use super::layout::GENERATIONS;
use super::{Bench, Measured};

/// New tokens in every generation of the reference.
pub(super) const STEPS: usize = 12;

/// What greedy decoding gave: per row its tokens, and the logits of every step, `[T, V]`.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) tokens: Vec<Vec<u32>>,
    pub(super) logits: Vec<Vec<f32>>,
}

/// Greedy decoding of `steps` tokens that never chooses `never`.
pub(super) fn decode<B: NnBackend>(
    bench: &Bench<B>,
    prompts: &[Prompt<B>],
    steps: usize,
    never: Option<u32>,
) -> Decoded {
    let mut session = Session::prefill(&bench.model, prompts, steps);
    let rows = prompts.len();
    let mut decoded = Decoded { tokens: vec![Vec::new(); rows], logits: vec![Vec::new(); rows] };
    for step in 0..steps {
        let logits = values(session.logits());
        let mut chosen = Vec::with_capacity(rows);
        for (row, logits) in logits.chunks(logits.len() / rows).enumerate() {
            chosen.push(best(logits, never));
            decoded.tokens[row].push(chosen[row]);
            decoded.logits[row].extend(logits);
        }
        if step + 1 < steps {
            session.advance(&chosen);
        }
    }
    decoded
}

/// The reference was told to make all tokens, and so never chose `<eos>`.
pub(super) fn greedy<B: NnBackend>(bench: &Bench<B>, case: &str) -> Vec<Measured> {
    let known = GENERATIONS.iter().find(|(name, _)| *name == case);
    let (_, prompts) = known.unwrap_or_else(|| panic!("no generation `{case}`"));
    let eos = Some(bench.config.eos_token_id);
    let decoded = decode(bench, &bench.prompts(prompts), STEPS, eos);
    let theirs = bench.golden.floats(&format!("{case}.step_logits"));
    vec![
        Measured::exact(
            "token ids that differ",
            &ids(&decoded.tokens.concat()),
            &bench.golden.integers(&format!("{case}.new_tokens")),
        ),
        Measured::difference("step logits", &decoded.logits.concat(), &theirs, bench.tolerance()),
    ]
}

/// The whole sequence that the reference gives when it may stop early.
pub(super) fn greedy_eos<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let decoded = decode(bench, &bench.prompts("a"), STEPS, None);
    let mut tokens = bench.golden.rows("a")[0].tokens.clone();
    for &token in &decoded.tokens[0] {
        tokens.push(token);
        if token == bench.config.eos_token_id {
            break;
        }
    }
    let theirs = bench.golden.integers("e_greedy_eos.sequences");
    let lengths = Measured::exact("length", &[tokens.len()], &[theirs.len()]);
    if !lengths.passes() {
        return vec![lengths];
    }
    vec![Measured::exact("token ids that differ", &ids(&tokens), &theirs)]
}

/// The answer of `b` token by token through the cache, and in one pass over the cached prompt.
pub(super) fn score<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let prompts = bench.prompts("a");
    let suffix = bench.golden.rows("b")[0].suffix();
    let mut session = Session::prefill(&bench.model, &prompts, suffix.len());
    let mut stepped = Vec::new();
    for (step, &token) in suffix.iter().enumerate() {
        stepped.push(log_probability(&values(session.logits()), token));
        if step + 1 < suffix.len() {
            session.advance(&[token]);
        }
    }
    let at_once = Session::prefill(&bench.model, &prompts, suffix.len())
        .log_probabilities(std::slice::from_ref(&suffix))
        .concat();
    let cached = bench.golden.floats("f.suffix_logprobs_incremental");
    let uncached = bench.golden.floats("b.suffix_logprobs");
    let tolerance = bench.tolerance();
    vec![
        Measured::difference("token by token", &stepped, &cached, tolerance),
        Measured::difference("in one pass", &at_once, &uncached, tolerance),
        bench.same("token by token = in one pass", &stepped, &at_once),
    ]
}

fn ids(tokens: &[u32]) -> Vec<i64> {
    tokens.iter().map(|&id| i64::from(id)).collect()
}
