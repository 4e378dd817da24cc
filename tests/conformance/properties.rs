//! What must agree with itself: rows of a batch with themselves alone, the cache with none.

use burn::tensor::Tensor;
use paligemma::{Prompt, Session};
use paligemma_nn::{NnBackend, PrefixMask};

use super::bench::{log_probability, values};
use super::decoding::{Decoded, STEPS, decode};
use super::{Bench, Measured};
use crate::reference::Row;

/// Rows that differ in pictures and in text, so that padding stands everywhere it can.
pub(super) fn batch_rows<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let prompts = [bench.prompts("c_left"), bench.prompts("d")].concat();
    rows_alone(bench, &prompts)
}

/// A row of text alone, beside one with a picture and by itself.
pub(super) fn no_picture<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let blind = Prompt { features: None, text: bench.golden.rows("c_single2")[0].prefix() };
    rows_alone(bench, &[bench.prompts("a"), vec![blind]].concat())
}

/// All rows are fed the tokens that the first to be decoded chose: a difference of rounding must
/// not become another text.
fn rows_alone<B: NnBackend>(bench: &Bench<B>, prompts: &[Prompt<B>]) -> Vec<Measured> {
    let together = decode(bench, prompts, STEPS, None);
    let row = |(index, prompt): (usize, &Prompt<B>)| {
        let alone = forced(bench, std::slice::from_ref(prompt), &together.tokens[index]);
        bench.same(format!("row {index}"), &together.logits[index], &alone)
    };
    prompts.iter().enumerate().map(row).collect()
}

/// Logits of one row that is fed `tokens`, `[T, V]`.
fn forced<B: NnBackend>(bench: &Bench<B>, prompt: &[Prompt<B>], tokens: &[u32]) -> Vec<f32> {
    let mut session = Session::prefill(&bench.model, prompt, tokens.len());
    let mut logits = values(session.logits());
    for &token in &tokens[..tokens.len() - 1] {
        session.advance(&[token]);
        logits.extend(values(session.logits()));
    }
    logits
}

/// Every step with the cache against one pass without it, for one picture and for two.
pub(super) fn cached<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    ["a", "c_single2", "d"].map(|case| cached_case(bench, case)).into()
}

fn cached_case<B: NnBackend>(bench: &Bench<B>, case: &str) -> Measured {
    let prompts = bench.prompts(case);
    let Decoded { tokens, logits } = decode(bench, &prompts, STEPS, None);
    let row = &bench.golden.rows(case)[0];
    let prefix = row.tokens.len();
    let decoder = bench.model.language_model();
    let suffix = decoder.embed(bench.ids(&tokens[0][..STEPS - 1]));
    let embeds = Tensor::cat(vec![bench.embeds(case), suffix], 1);
    let mask = PrefixMask::with_suffixes(&[(prefix, STEPS - 1)]);
    let all = values(decoder.logits(decoder.forward(embeds, &mask, None)));
    let vocabulary = bench.config.text.vocab_size;
    bench.same(case, &logits[0], &all[(prefix - 1) * vocabulary..])
}

/// Continuations of different lengths that share one prompt's cache.
pub(super) fn forked<B: NnBackend>(bench: &Bench<B>) -> Vec<Measured> {
    let suffixes: Vec<Vec<u32>> =
        bench.golden.rows("b_batch_right").iter().map(Row::suffix).collect();
    let longest = suffixes.iter().map(Vec::len).max().unwrap_or(0);
    let prompts = bench.prompts("a");
    let forked = Session::prefill(&bench.model, &prompts, longest)
        .fork(suffixes.len())
        .log_probabilities(&suffixes);
    let vocabulary = bench.config.text.vocab_size;
    let row = |(suffix, forked): (&Vec<u32>, Vec<f32>)| {
        let logits = forced(bench, &prompts, suffix);
        let steps = logits.chunks(vocabulary).zip(suffix);
        let alone: Vec<f32> = steps.map(|(step, &token)| log_probability(step, token)).collect();
        bench.same(format!("{} tokens", suffix.len()), &forked, &alone)
    };
    suffixes.iter().zip(forked).map(row).collect()
}
