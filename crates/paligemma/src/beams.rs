//! Beam search: the most probable answers that are found by following several at once.

use crate::Constraint;
use crate::constraint::masked;
use crate::sampling::log_probabilities;

/// An answer that a search found, or follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beam {
    /// Its tokens, without the closing `<eos>`.
    pub token_ids: Vec<u32>,
    /// The log-probability of each token after those before it.
    pub log_probabilities: Vec<f32>,
    /// The log-probability of the closing `<eos>`; none if the answer reached the limit of tokens.
    pub end_log_probability: Option<f32>,
    total: f32,
}

impl Beam {
    /// What beams are ranked by: the mean log-probability of their tokens, the closing `<eos>`
    /// included.
    pub fn score(&self) -> f32 {
        let tokens = self.token_ids.len() + usize::from(self.end_log_probability.is_some());
        self.total / tokens as f32
    }
}

/// How a search goes on: these rows, in this order, each followed by its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeamStep {
    /// Rows of the logits that were given.
    pub rows: Vec<usize>,
    /// The token after each of them.
    pub tokens: Vec<u32>,
}

/// A search for one answer: a state on the host, fed with logits.
///
/// As transformers 5.23.0 has it by default (`generation/utils.py`, `_beam_search`, with
/// `length_penalty=1.0` and `early_stopping=False`): twice as many continuations as beams are looked
/// at; those of the better half that end are kept as answers; the best that do not end go on. It
/// stops when there are as many answers as beams and the best beam's mean is not above the worst
/// answer's.
#[derive(Debug)]
pub struct BeamSearch<'c> {
    beams: usize,
    limit: usize,
    eos: u32,
    constraint: Option<&'c dyn Constraint>,
    running: Vec<Beam>,
    /// The best answers, best first.
    finished: Vec<Beam>,
}

/// A beam and a token that may follow it.
#[derive(Clone, Copy, Debug)]
struct Continuation {
    row: usize,
    token: u32,
    log_probability: f32,
    total: f32,
}

impl<'c> BeamSearch<'c> {
    /// A search with `beams` beams for answers of at most `limit` tokens that `eos` ends.
    ///
    /// # Panics
    /// If there is no beam, or no token.
    pub fn new(
        beams: usize,
        limit: usize,
        eos: u32,
        constraint: Option<&'c dyn Constraint>,
    ) -> Self {
        assert!(beams > 0 && limit > 0, "a search needs beams and tokens");
        let running = vec![Beam::default()];
        Self { beams, limit, eos, constraint, running, finished: Vec::new() }
    }

    /// Takes the logits of every running beam's next token, all of them finite, and says which
    /// beams go on; none when the search is over. It begins with one beam, the prompt.
    ///
    /// # Shapes
    /// - `logits`: `[R, V]`, a row for each beam of the last step
    pub fn advance(&mut self, logits: &[f32]) -> Option<BeamStep> {
        if self.running.is_empty() {
            return None;
        }
        let length = self.running[0].token_ids.len() + 1;
        let continuations = self.continuations(logits);
        let ends = |c: &Continuation| c.token == self.eos || length >= self.limit;
        let best = continuations.iter().take(self.beams);
        let ended: Vec<Beam> = best.filter(|c| ends(c)).map(|c| self.extended(c)).collect();
        let going: Vec<_> = continuations.iter().filter(|c| !ends(c)).take(self.beams).collect();
        let running = going.iter().map(|c| self.extended(c)).collect();
        let step = BeamStep {
            rows: going.iter().map(|c| c.row).collect(),
            tokens: going.iter().map(|c| c.token).collect(),
        };
        self.finished.extend(ended);
        self.finished.sort_by(|a, b| b.score().total_cmp(&a.score()));
        self.finished.truncate(self.beams);
        self.running = running;
        if self.is_settled() {
            self.running.clear();
        }
        (!self.running.is_empty()).then_some(step)
    }

    /// The answers, best first.
    pub fn finish(self) -> Vec<Beam> {
        self.finished
    }

    /// Whether no running beam is above the worst answer.
    fn is_settled(&self) -> bool {
        match (self.running.first(), self.finished.get(self.beams - 1)) {
            (Some(best), Some(worst)) => best.score() <= worst.score(),
            _ => false,
        }
    }

    /// The most probable continuations of all beams, best first: twice as many as beams, so that
    /// enough are left when all beams end.
    fn continuations(&self, logits: &[f32]) -> Vec<Continuation> {
        let rows = logits.chunks_exact(logits.len() / self.running.len());
        let mut best = Vec::new();
        for (row, (logits, beam)) in rows.zip(&self.running).enumerate() {
            let left = self.limit - beam.token_ids.len();
            let open = masked(self.constraint, &beam.token_ids, left, logits, self.eos);
            let log_probability = log_probabilities(logits);
            let tokens = (0..logits.len()).filter(|&token| open[token] > f32::NEG_INFINITY);
            best.extend(tokens.map(|token| {
                let log_probability = log_probability(token as u32);
                let total = beam.total + log_probability;
                Continuation { row, token: token as u32, log_probability, total }
            }));
            let order = |a: &Continuation, b: &Continuation| {
                b.total.total_cmp(&a.total).then((a.row, a.token).cmp(&(b.row, b.token)))
            };
            let kept = 2 * self.beams;
            if best.len() > kept {
                best.select_nth_unstable_by(kept - 1, order);
                best.truncate(kept);
            }
            best.sort_unstable_by(order);
        }
        best
    }

    fn extended(&self, by: &Continuation) -> Beam {
        let mut beam = self.running[by.row].clone();
        beam.total = by.total;
        if by.token == self.eos {
            beam.end_log_probability = Some(by.log_probability);
        } else {
            beam.token_ids.push(by.token);
            beam.log_probabilities.push(by.log_probability);
        }
        beam
    }
}
