//! The words of a caption, as COCO's caption evaluation finds them.

mod lexer;
mod rules;
mod written;

use lexer::LEXER;

/// The words of a caption in lower case, without punctuation: those of pycocoevalcap's `PTBTokenizer`,
/// which runs the Penn Treebank tokenizer of Stanford `CoreNLP` 3.4.1 and drops its punctuation tokens.
///
/// Contractions are two words (`is n't`), brackets are words (`-lrb-`), and what the tokenizer does not
/// know, such as emoji, is left out. The rules were found by giving that tokenizer text and seeing what
/// became of it; docs/transfer.md says where they are known to differ. A line break is a space.
pub fn caption_words(caption: &str) -> Vec<String> {
    let mut words = Vec::new();
    LEXER.tokens(caption, |token| written::write(token, &mut words));
    words
}
