//! Captions: their words, and how far they agree with what people wrote.

mod bleu;
mod cider;
mod ngrams;
mod ptb;

pub use bleu::{Bleu, bleu};
pub use cider::{Cider, cider};
pub use ptb::caption_words;

use crate::Text;

/// A caption and its references, as words.
struct Captions {
    prediction: Vec<String>,
    references: Vec<Vec<String>>,
}

impl Captions {
    fn all(texts: &[Text]) -> Vec<Self> {
        let words = |text: &Text| Self {
            prediction: caption_words(&text.prediction),
            references: text.references.iter().map(|text| caption_words(text)).collect(),
        };
        texts.iter().map(words).collect()
    }
}
