//! Requests, answers, and the loop between them.

use std::sync::Arc;

use burn::tensor::TensorData;
use paligemma_processor::{TextStream, Tokenizer};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::constraint::masked;
use crate::engine::Reply;
use crate::sampling::log_probability;
use crate::{Beam, Constraint, Dtype, Error, Sampling};

/// Encoded pictures, which may serve any number of prompts.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Features of all pictures, `[1, I * N, D]`.
    pub(crate) features: Arc<TensorData>,
    /// Width and height of each picture in pixels.
    pub(crate) sizes: Arc<[(u32, u32)]>,
}

impl Scene {
    /// Width and height of each picture in pixels, as they were before preprocessing.
    pub fn sizes(&self) -> &[(u32, u32)] {
        &self.sizes
    }

    /// Features of all pictures, `[1, I * N, D]`.
    pub fn features(&self) -> &TensorData {
        &self.features
    }
}

/// Limits and chance of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The answer ends after this many tokens at the latest.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The seed of random choices; the same seed gives the same answer.
    pub seed: u64,
    /// How many answers are followed at once; more than 1 is a [`crate::BeamSearch`], which takes the
    /// place of [`Sampling::Greedy`].
    pub num_beams: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_new_tokens: 128, sampling: Sampling::Greedy, seed: 0, num_beams: 1 }
    }
}

impl Options {
    /// Refuses what no answer can be made with.
    ///
    /// # Errors
    /// If no token may be generated, a sampling option is out of range, or beams are asked for
    /// together with draws.
    pub fn check(&self) -> Result<(), Error> {
        if self.max_new_tokens == 0 {
            return Err(Error::NoNewTokens);
        }
        match self.num_beams {
            0 => Err(self.beams("at least 1")),
            2.. if self.sampling != Sampling::Greedy => Err(self.beams("1 where tokens are drawn")),
            _ => self.sampling.check(),
        }
    }

    /// That the number of beams does not do.
    pub(crate) fn beams(&self, range: &'static str) -> Error {
        Error::Sampling { option: "num-beams", value: self.num_beams.to_string(), range }
    }
}

/// A prompt about encoded pictures.
#[derive(Clone, Debug)]
pub struct Request {
    /// The pictures.
    pub scene: Scene,
    /// The prompt as the model was trained on it, without its newline: `caption en`.
    pub prompt: String,
    /// Limits and chance.
    pub options: Options,
    /// A rule that the answer obeys, such as [`crate::Items`]. Log-probabilities stay the model's own:
    /// of each token among all, whatever the rule leaves.
    pub constraint: Option<Arc<dyn Constraint>>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// It reached the limit of tokens.
    Length,
}

/// What a request cost in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, pictures included.
    pub prompt_tokens: usize,
    /// Those of them that stand for pictures.
    pub image_tokens: usize,
    /// Tokens generated, without the closing `<eos>`.
    pub completion_tokens: usize,
}

/// A generated answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text; `<locNNNN>` and `<segNNN>` stay visible.
    pub text: String,
    /// Its tokens, without the closing `<eos>`.
    pub token_ids: Vec<u32>,
    /// The log-probability that the model gave each token when it was chosen, by its plain logits:
    /// no temperature, no rule.
    pub log_probabilities: Vec<f32>,
    /// The same of the closing `<eos>`; none if the answer reached the limit of tokens.
    pub end_log_probability: Option<f32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What it cost.
    pub usage: Usage,
}

impl Answer {
    pub(crate) fn empty(usage: Usage) -> Self {
        Self {
            text: String::new(),
            token_ids: Vec::new(),
            log_probabilities: Vec::new(),
            end_log_probability: None,
            finish_reason: FinishReason::Length,
            usage,
        }
    }

    /// The answer that a beam search found.
    pub(crate) fn of_beam(beam: Beam, usage: Usage, tokenizer: &Tokenizer) -> Self {
        let mut stream = tokenizer.stream();
        let pieces = beam.token_ids.iter().filter_map(|&id| stream.push(id));
        let mut text: String = pieces.collect();
        text.extend(stream.finish());
        let ended = beam.end_log_probability.is_some();
        Self {
            text,
            finish_reason: if ended { FinishReason::Stop } else { FinishReason::Length },
            usage: Usage { completion_tokens: beam.token_ids.len(), ..usage },
            token_ids: beam.token_ids,
            log_probabilities: beam.log_probabilities,
            end_log_probability: beam.end_log_probability,
        }
    }

    /// The log-probability of the whole answer, its closing `<eos>` included.
    pub fn total(&self) -> f32 {
        self.log_probabilities.iter().chain(&self.end_log_probability).sum()
    }

    /// The mean log-probability of a token, which does not favour short answers.
    pub fn mean(&self) -> f32 {
        let tokens = self.log_probabilities.len() + usize::from(self.end_log_probability.is_some());
        self.total() / tokens as f32
    }

    /// The probability of the whole answer; of one that was cut off, that an answer begins so.
    pub fn probability(&self) -> f32 {
        self.total().exp()
    }
}

/// One row of a batch being answered.
struct Row {
    options: Options,
    constraint: Option<Arc<dyn Constraint>>,
    room: usize,
    random: ChaCha8Rng,
    stream: TextStream,
    answer: Answer,
    open: bool,
}

impl Row {
    /// Takes the next token and returns the text that it completes.
    fn take(&mut self, logits: &[f32], eos: u32) -> Option<String> {
        let left = self.room - self.answer.token_ids.len();
        let constraint = self.constraint.as_deref();
        let choice = masked(constraint, &self.answer.token_ids, left, logits, eos);
        let token = self.options.sampling.choose(&choice, &mut self.random);
        if token == eos {
            self.open = false;
            self.answer.end_log_probability = Some(log_probability(logits, eos));
            self.answer.finish_reason = FinishReason::Stop;
            return self.end();
        }
        self.answer.token_ids.push(token);
        self.answer.log_probabilities.push(log_probability(logits, token));
        self.answer.usage.completion_tokens += 1;
        let piece = self.stream.push(token);
        self.answer.text.extend(piece.iter().map(String::as_str));
        self.open = self.answer.token_ids.len() < self.room;
        if self.open {
            piece
        } else {
            [piece, self.end()].into_iter().flatten().reduce(|a, b| a + &b)
        }
    }

    fn end(&mut self) -> Option<String> {
        let rest = self.stream.finish();
        self.answer.text.extend(rest.iter().map(String::as_str));
        rest
    }
}

/// What one row brings into a batch.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) options: Options,
    pub(crate) constraint: Option<Arc<dyn Constraint>>,
    pub(crate) usage: Usage,
    /// The most tokens of its answer: those allowed, as far as they fit the model's positions.
    pub(crate) room: usize,
}

/// A batch of requests being answered, token by token.
pub(crate) struct Generation<'m> {
    reply: Box<dyn Reply + 'm>,
    rows: Vec<Row>,
    /// The rows that are still being computed, in the order of the reply.
    live: Vec<usize>,
    eos: u32,
    dtype: Dtype,
    steps: usize,
}

impl<'m> Generation<'m> {
    pub(crate) fn new(
        reply: Box<dyn Reply + 'm>,
        starts: Vec<Start>,
        tokenizer: &Tokenizer,
        dtype: Dtype,
    ) -> Self {
        let row = |start: Start| Row {
            room: start.room,
            random: ChaCha8Rng::seed_from_u64(start.options.seed),
            options: start.options,
            constraint: start.constraint,
            stream: tokenizer.stream(),
            answer: Answer::empty(start.usage),
            open: true,
        };
        let rows: Vec<Row> = starts.into_iter().map(row).collect();
        let live = (0..rows.len()).collect();
        Self { reply, rows, live, eos: tokenizer.special().eos, dtype, steps: 0 }
    }

    /// Whether every row has ended.
    pub(crate) fn finished(&self) -> bool {
        self.rows.iter().all(|row| !row.open)
    }

    /// Chooses one token per open row; `show` gets the row and the text that it completes, of no row if
    /// the logits of one are not finite.
    pub(crate) fn step(&mut self, mut show: impl FnMut(usize, String)) -> Result<(), Error> {
        if self.steps > 0 {
            self.leave_ended();
            let last = |&i: &usize| self.rows[i].answer.token_ids.last().copied();
            let tokens: Vec<u32> = self.live.iter().map(|i| last(i).unwrap_or(self.eos)).collect();
            self.reply.advance(&tokens);
        }
        let logits = self.reply.logits();
        let vocabulary = logits.len() / self.live.len();
        let Self { eos, dtype, steps, .. } = *self;
        let mut own = vec![None; self.rows.len()];
        for (&i, logits) in self.live.iter().zip(logits.chunks_exact(vocabulary)) {
            own[i] = Some(logits);
        }
        // A vocabulary of the published size is a lot to look through: a thread for each row.
        let texts = self.rows.par_iter_mut().zip(own).map(|(row, logits)| {
            let Some(logits) = logits.filter(|_| row.open) else { return Ok(None) };
            Error::check_finite(logits, steps, dtype)?;
            Ok(row.take(logits, eos))
        });
        let texts: Vec<Option<String>> = texts.collect::<Result<_, Error>>()?;
        for (i, text) in texts.into_iter().enumerate() {
            if let Some(text) = text {
                show(i, text);
            }
        }
        self.steps += 1;
        Ok(())
    }

    /// Computes on without the rows that have ended, once they are half: it copies the cache.
    fn leave_ended(&mut self) {
        let open = |&place: &usize| self.rows[self.live[place]].open;
        let open: Vec<usize> = (0..self.live.len()).filter(open).collect();
        if !open.is_empty() && 2 * open.len() <= self.live.len() {
            self.reply.select(&open);
            self.live = open.into_iter().map(|place| self.live[place]).collect();
        }
    }

    /// The answers, in the order of the requests.
    pub(crate) fn answers(self) -> Vec<Answer> {
        self.rows.into_iter().map(|row| row.answer).collect()
    }
}

/// An answer as it is made: an iterator over pieces of text, whole characters each.
///
/// After an error it ends. [`Stream::finish`] makes the rest and gives the whole answer.
pub struct Stream<'m> {
    pub(crate) generation: Generation<'m>,
    pub(crate) failed: bool,
}

impl Stream<'_> {
    /// Makes what is left and returns the whole answer.
    ///
    /// # Errors
    /// If the model's numbers are not finite.
    pub fn finish(mut self) -> Result<Answer, Error> {
        while !self.generation.finished() {
            self.generation.step(|_, _| ())?;
        }
        let row = self.generation.rows.swap_remove(0);
        Ok(row.answer)
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = None;
        while !self.failed && piece.is_none() && !self.generation.finished() {
            if let Err(error) = self.generation.step(|_, text| piece = Some(text)) {
                self.failed = true;
                return Some(Err(error));
            }
        }
        piece.map(Ok)
    }
}
