//! Turns token ids into text as they come, a whole character at a time.

use crate::tokenizer::Tokenizer;

/// The character a decoder puts where bytes are no valid text, or not yet.
const REPLACEMENT: char = '\u{fffd}';

/// Bytes of the longest UTF-8 character: so many byte tokens may wait for the rest of theirs.
const LONGEST_CHARACTER: usize = 4;

/// Text that grows token by token, from [`Tokenizer::stream`].
///
/// A character outside the vocabulary is spelled in byte tokens: its text comes with the last of
/// them. The pieces together are what [`Tokenizer::decode`] makes of all the ids, unless that holds
/// `U+FFFD`: bytes that are no text may then be replaced one by one or not.
#[derive(Clone, Debug)]
pub struct TextStream {
    tokenizer: Tokenizer,
    /// The ids whose text was handed out last: what a decoder may need to see before the next.
    context: Vec<u32>,
    /// The ids since, whose text is not handed out.
    pending: Vec<u32>,
}

impl TextStream {
    pub(crate) fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, context: Vec::new(), pending: Vec::new() }
    }

    /// Takes one more id and returns the text that is whole now, or `None` where more ids are
    /// needed or the id has no text.
    pub fn push(&mut self, id: u32) -> Option<String> {
        if self.tokenizer.is_visible(id) {
            self.pending.push(id);
        }
        let text = self.pending_text();
        if text.ends_with(REPLACEMENT) && self.pending.len() < LONGEST_CHARACTER {
            return None;
        }
        self.hand_out(text)
    }

    /// Returns the text of an unfinished character, if any: `U+FFFD` for each of its bytes.
    pub fn finish(&mut self) -> Option<String> {
        let text = self.pending_text();
        self.hand_out(text)
    }

    /// The text that the pending ids add to that of the context.
    fn pending_text(&self) -> String {
        let both = self.tokenizer.decode(&[&*self.context, &*self.pending].concat());
        match both.strip_prefix(&self.tokenizer.decode(&self.context)) {
            Some(text) => text.to_owned(),
            // Byte tokens on both sides, not all of them valid: they are decoded as one run.
            None => self.tokenizer.decode(&self.pending),
        }
    }

    fn hand_out(&mut self, text: String) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        self.context = std::mem::take(&mut self.pending);
        Some(text)
    }
}
