//! What an answer may say: tokens are struck out before one is chosen.

use std::borrow::Cow;
use std::fmt::Debug;

/// A rule about answers, with which any way of choosing tokens obeys it: greedy, drawn or by
/// beams. It has no state of its own: what may follow depends on the tokens so far.
pub trait Constraint: Debug + Send + Sync {
    /// Sets the logits of what may not follow `tokens` to negative infinity.
    ///
    /// At most `left` more tokens fit, 1 or more; the `<eos>` that ends an answer takes no room. Where
    /// nothing at all is left to choose, the answer ends.
    fn mask(&self, tokens: &[u32], left: usize, logits: &mut [f32]);
}

/// The logits to choose from: the model's own where there is no rule.
pub(crate) fn masked<'a>(
    constraint: Option<&dyn Constraint>,
    tokens: &[u32],
    left: usize,
    logits: &'a [f32],
    eos: u32,
) -> Cow<'a, [f32]> {
    let Some(constraint) = constraint else { return Cow::Borrowed(logits) };
    let mut masked = logits.to_vec();
    constraint.mask(tokens, left, &mut masked);
    if masked.iter().all(|&logit| logit == f32::NEG_INFINITY) {
        masked[eos as usize] = logits[eos as usize];
    }
    Cow::Owned(masked)
}
