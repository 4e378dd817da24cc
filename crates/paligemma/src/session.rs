//! Prefill and cached decoding of a batch of prompts.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use paligemma_gemma::KvCache;
use paligemma_nn::{NnBackend, PrefixMask, TokenKind};

use crate::Model;

/// What one row of a batch begins with.
#[derive(Clone, Debug)]
pub struct Prompt<B: NnBackend> {
    /// Features of all its pictures, `[1, N, D]`, where `N` may differ between rows. None without a
    /// picture: CUDA takes no tensor of no elements, neither from data nor from an operation.
    pub features: Option<Tensor<B, 3>>,
    /// Text tokens, from `<bos>` to the newline.
    pub text: Vec<u32>,
}

impl<B: NnBackend> Prompt<B> {
    /// How many picture tokens it has.
    fn pictures(&self) -> usize {
        self.features.as_ref().map_or(0, |features| features.dims()[1])
    }
}

/// The most picture tokens of a prompt.
fn most_pictures<B: NnBackend>(prompts: &[Prompt<B>]) -> usize {
    prompts.iter().map(Prompt::pictures).max().unwrap_or(0)
}

/// A batch of prompts being continued: its mask, its cache and where each row stands.
///
/// Rows are padded between their pictures and their text and after it; padding is never attended
/// to and holds no position, so every row is what it would be alone.
#[derive(Debug)]
pub struct Session<'m, B: NnBackend> {
    model: &'m Model<B>,
    mask: PrefixMask,
    cache: KvCache<B>,
    /// The decoder's last state of each row, `[B, D]`, of which the next logits are made.
    last: Tensor<B, 2>,
}

impl<'m, B: NnBackend> Session<'m, B> {
    /// Reads all prompts in one pass, with room for `max_new_tokens` more tokens.
    ///
    /// # Panics
    /// If there is no prompt, or a prompt has no text.
    pub fn prefill(model: &'m Model<B>, prompts: &[Prompt<B>], max_new_tokens: usize) -> Self {
        let (embeds, mask) = embed(model, prompts);
        let mut cache = model.language_model().cache(prompts.len(), mask.len() + max_new_tokens);
        let hidden = model.language_model().forward(embeds, &mask, Some(&mut cache));
        let last = at_slots(hidden, &last_slots(prompts));
        Self { model, mask, cache, last }
    }

    /// Logits of each row's next token, in f32. They are made anew each time: a head of the published
    /// size is a fifth of the decoder, and what it makes is not kept.
    ///
    /// # Shapes
    /// - output: `[B, V]`
    pub fn logits(&self) -> Tensor<B, 2> {
        self.head(self.last.clone())
    }

    /// `[r, D]` to `[r, V]`
    fn head(&self, states: Tensor<B, 2>) -> Tensor<B, 2> {
        self.model.language_model().logits(states.unsqueeze_dim(0)).squeeze_dim(0)
    }

    /// Tokens that still fit.
    pub fn remaining(&self) -> usize {
        self.cache.capacity() - self.cache.len()
    }

    /// Appends one token to every row.
    ///
    /// # Panics
    /// If there is not one token per row, or no room is left.
    pub fn advance(&mut self, tokens: &[u32]) {
        let device = self.last.device();
        self.mask.push(TokenKind::Suffix);
        let embeds = self.model.language_model().embed(ids(&[tokens], tokens.len(), &device));
        let hidden = self.model.language_model().forward(embeds, &self.mask, Some(&mut self.cache));
        self.last = at_slots(hidden, &vec![0; tokens.len()]);
    }

    /// Goes on with the given rows, each any number of times and in any order: the beams of a
    /// search, several draws from one prompt. Rows that stay as they are cost nothing.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn select(&mut self, rows: &[usize]) {
        if !rows.iter().copied().eq(0..self.cache.batch()) {
            *self = self.selected(rows);
        }
    }

    /// The same state for several continuations of its only row.
    ///
    /// # Panics
    /// If the session has more than one row.
    pub fn fork(&self, rows: usize) -> Self {
        assert_eq!(self.cache.batch(), 1, "only a session of one row can be forked");
        self.selected(&vec![0; rows])
    }

    fn selected(&self, rows: &[usize]) -> Self {
        let indices: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let indices = TensorData::new(indices, [rows.len()]);
        let indices = Tensor::<B, 1, Int>::from_data(indices, &self.last.device());
        let kinds = rows.iter().map(|&row| self.mask.rows()[row].clone());
        Self {
            model: self.model,
            mask: PrefixMask::new(kinds.collect()),
            cache: self.cache.select(rows),
            last: self.last.clone().select(0, indices),
        }
    }

    /// Log-probabilities of given continuations, one list of tokens per row, in one pass; logits of
    /// all of them are never held at once.
    ///
    /// # Panics
    /// If there is not one non-empty list per row, or the longest does not fit.
    pub fn log_probabilities(self, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let firsts = chosen(&self.last, &first_tokens(suffixes), |states| self.head(states));
        self.after(firsts, suffixes)
    }

    /// Log-probabilities of several continuations of the only row, whose next logits are made once.
    ///
    /// # Panics
    /// If the session has more than one row, a list is empty, or the longest does not fit.
    pub fn score(&self, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let all = log_softmax(self.logits(), 1);
        let firsts = all.gather(1, ids(&[&first_tokens(suffixes)], 1, &self.last.device()));
        let firsts = firsts.into_data().iter::<f32>().collect();
        self.fork(suffixes.len()).after(firsts, suffixes)
    }

    /// The log-probabilities, of which the first of each row is known.
    fn after(mut self, firsts: Vec<f32>, suffixes: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let known = suffixes.iter().map(Vec::len).max().unwrap_or(0) - 1;
        let mut later =
            if known > 0 { self.later(suffixes, known) } else { Vec::new() }.into_iter();
        let rows = firsts.into_iter().zip(suffixes);
        rows.map(|(first, suffix)| {
            std::iter::once(first).chain(later.by_ref().take(suffix.len() - 1)).collect()
        })
        .collect()
    }

    /// Log-probabilities of all tokens but the first of each continuation, row by row, after reading
    /// `known` tokens of each.
    fn later(&mut self, suffixes: &[Vec<u32>], known: usize) -> Vec<f32> {
        let device = self.last.device();
        (0..known).for_each(|_| self.mask.push(TokenKind::Suffix));
        // Rows that end earlier carry their last token on; what follows it is not read.
        let carried = |suffix: &Vec<u32>| {
            (0..known).map(|i| suffix[i.min(suffix.len() - 1)]).collect::<Vec<u32>>()
        };
        let carried: Vec<Vec<u32>> = suffixes.iter().map(carried).collect();
        let carried: Vec<&[u32]> = carried.iter().map(Vec::as_slice).collect();
        let decoder = self.model.language_model();
        let embeds = decoder.embed(ids(&carried, suffixes.len(), &device));
        let hidden = decoder.forward(embeds, &self.mask, Some(&mut self.cache));
        let width = hidden.dims()[2];
        let rows = suffixes.iter().enumerate();
        let slots = rows.flat_map(|(row, suffix)| row * known..row * known + suffix.len() - 1);
        let slots: Vec<i64> = slots.map(|slot| slot as i64).collect();
        let count = slots.len();
        let slots = TensorData::new(slots, [count]);
        let hidden = hidden
            .reshape([suffixes.len() * known, width])
            .select(0, Tensor::<B, 1, Int>::from_data(slots, &device));
        let tokens: Vec<u32> = suffixes.iter().flat_map(|suffix| &suffix[1..]).copied().collect();
        chosen(&hidden, &tokens, |states| self.head(states))
    }
}

/// The first token of each continuation.
fn first_tokens(suffixes: &[Vec<u32>]) -> Vec<u32> {
    suffixes.iter().map(|suffix| suffix[0]).collect()
}

/// Rows whose logits are held at a time: each has one for every token of the vocabulary, a megabyte
/// of the published models' in f32.
const LOGITS_AT_ONCE: usize = 32;

/// The log-probability of a token after each row, of which `logits` are made a few at a time.
///
/// # Shapes
/// - `rows`: `[R, D]`, with one of `tokens` each
/// - `logits`: `[r, D]` to `[r, V]`
fn chosen<B: NnBackend>(
    rows: &Tensor<B, 2>,
    tokens: &[u32],
    logits: impl Fn(Tensor<B, 2>) -> Tensor<B, 2>,
) -> Vec<f32> {
    let mut values = Vec::with_capacity(tokens.len());
    for some in tokens.chunks(LOGITS_AT_ONCE) {
        let part = rows.clone().narrow(0, values.len(), some.len());
        let all = log_softmax(logits(part), 1);
        let some: Vec<&[u32]> = some.chunks(1).collect();
        let chosen = all.gather(1, ids(&some, some.len(), &rows.device()));
        values.extend(chosen.into_data().iter::<f32>());
    }
    values
}

/// Rows of token ids as one tensor, `[B, L]`.
pub(crate) fn ids<B: NnBackend>(
    rows: &[&[u32]],
    batch: usize,
    device: &B::Device,
) -> Tensor<B, 2, Int> {
    let ids: Vec<i64> = rows.iter().flat_map(|row| row.iter().map(|&id| i64::from(id))).collect();
    let length = ids.len() / batch;
    Tensor::from_data(TensorData::new(ids, [batch, length]), device)
}

/// Embeddings and mask of padded prompts: pictures, padding, text, padding.
fn embed<B: NnBackend>(model: &Model<B>, prompts: &[Prompt<B>]) -> (Tensor<B, 3>, PrefixMask) {
    let pictures = most_pictures(prompts);
    let longest = prompts.iter().map(|prompt| prompt.text.len()).max().unwrap_or(0);
    let text: Vec<Vec<u32>> = prompts
        .iter()
        .map(|prompt| {
            prompt.text.iter().copied().chain(std::iter::repeat(0)).take(longest).collect()
        })
        .collect();
    let rows: Vec<&[u32]> = text.iter().map(Vec::as_slice).collect();
    let text = ids(&rows, prompts.len(), &model.language_model().embed_tokens().device());
    let kinds = prompts.iter().map(|prompt| {
        let run = |count: usize, kind| std::iter::repeat_n(kind, count);
        let (count, length) = (prompt.pictures(), prompt.text.len());
        run(count, TokenKind::Prefix)
            .chain(run(pictures - count, TokenKind::Pad))
            .chain(run(length, TokenKind::Prefix))
            .chain(run(longest - length, TokenKind::Pad))
            .collect()
    });
    let mask = PrefixMask::new(kinds.collect());
    let embeds = match prompts.iter().find_map(|prompt| prompt.features.as_ref()) {
        None => model.language_model().embed(text),
        Some(some) => {
            let zeros =
                |count| Tensor::zeros([1, count, some.dims()[2]], (&some.device(), some.dtype()));
            let features = prompts.iter().map(|prompt| padded(prompt, pictures, zeros)).collect();
            model.embed(Tensor::cat(features, 0), text)
        }
    };
    (embeds, mask)
}

/// Features of one row, as many as `pictures`, zeros after its own.
///
/// # Shapes
/// - output: `[1, pictures, D]`
fn padded<B: NnBackend>(
    prompt: &Prompt<B>,
    pictures: usize,
    zeros: impl Fn(usize) -> Tensor<B, 3>,
) -> Tensor<B, 3> {
    let missing = pictures - prompt.pictures();
    match prompt.features.clone() {
        None => zeros(missing),
        Some(features) if missing == 0 => features,
        Some(features) => Tensor::cat(vec![features, zeros(missing)], 1),
    }
}

/// Where each row's prompt ends.
fn last_slots<B: NnBackend>(prompts: &[Prompt<B>]) -> Vec<usize> {
    let pictures = most_pictures(prompts);
    prompts.iter().map(|prompt| pictures + prompt.text.len() - 1).collect()
}

/// The states at the given slot of each row: only these meet the head.
///
/// # Shapes
/// `hidden` `[B, L, D]` -> `[B, D]`
fn at_slots<B: NnBackend>(hidden: Tensor<B, 3>, slots: &[usize]) -> Tensor<B, 2> {
    let [batch, length, width] = hidden.dims();
    let flat = slots.iter().enumerate().map(|(row, slot)| (row * length + slot) as i64);
    let data = TensorData::new(flat.collect::<Vec<_>>(), [batch]);
    let slots = Tensor::<B, 1, Int>::from_data(data, &hidden.device());
    hidden.reshape([batch * length, width]).select(0, slots)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use std::cell::Cell;

    use burn_flex::{Flex, FlexDevice};

    use super::*;

    #[test]
    fn logits_are_made_a_few_at_a_time_and_are_those_of_all() {
        let count = 2 * LOGITS_AT_ONCE + 5;
        let numbers: Vec<f32> = (0..count * 7).map(|i| ((i * i) % 23) as f32 / 5.0).collect();
        let rows = Tensor::<Flex, 2>::from_data(TensorData::new(numbers, [count, 7]), &FlexDevice);
        let tokens: Vec<u32> = (0..count as u32).map(|row| row * 5 % 7).collect();
        let most = Cell::new(0);
        let found = chosen(&rows, &tokens, |part| {
            most.set(most.get().max(part.dims()[0]));
            part
        });
        assert_eq!(most.get(), LOGITS_AT_ONCE);
        let all: Vec<f32> = log_softmax(rows, 1).into_data().iter().collect();
        let expected = tokens.iter().enumerate().map(|(row, &token)| all[row * 7 + token as usize]);
        assert_eq!(found.len(), count);
        assert!(found.iter().zip(expected).all(|(found, all)| (found - all).abs() < 1e-6));
    }
}
