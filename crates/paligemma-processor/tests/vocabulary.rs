//! The real vocabulary against the reference, where `cargo xtask gemma-tokenizer` has made it.

use std::io::Write;
use std::path::Path;

use paligemma_processor::{SpecialTokens, Tokenizer};
use serde_json::Value;

const IMAGE: u32 = 257_152;
const GOLDEN: &str = include_str!("../../../tests/golden/tokenizer/golden.json");

/// The real tokenizer, which is not this project's to ship.
fn real(test: &str) -> Option<Tokenizer> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("target/gemma-tokenizer/tokenizer.json");
    if !file.is_file() {
        // Not by a macro: what those print is shown of failed tests only.
        let line = "skipped, the real vocabulary is not there: run `cargo xtask gemma-tokenizer`";
        let mut terminal = std::io::stderr();
        writeln!(terminal, "{test}: {line}").unwrap();
        return None;
    }
    Some(Tokenizer::from_file(&file, IMAGE).unwrap())
}

#[test]
fn the_real_tokens_have_the_published_ids() {
    let Some(tokenizer) = real("the_real_tokens_have_the_published_ids") else { return };
    // big_vision's README of paligemma, and the published config.json.
    let published = SpecialTokens { bos: 2, eos: 1, pad: 0, image: IMAGE, newline: 108 };
    assert_eq!(tokenizer.special(), &published);
    assert_eq!([tokenizer.loc(0), tokenizer.loc(1023)], [256_000, 257_023]);
    assert_eq!([tokenizer.seg(0), tokenizer.seg(127)], [257_024, 257_151]);
    assert_eq!(tokenizer.vocab_size(), 257_153);
    let prompt = tokenizer.encode_prompt("caption en", 1, 2).unwrap();
    assert_eq!(prompt, [IMAGE, IMAGE, 2, 21209, 659, 108]);
}

#[test]
fn texts_have_the_references_ids() {
    let Some(tokenizer) = real("texts_have_the_references_ids") else { return };
    let cases: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(cases.len(), 26);
    let mut controlled = 0;
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let ids = tokenizer.encode_suffix(text).unwrap();
        // The reference takes control tokens from a text; here they are text like all other.
        if expected.iter().any(|id| [0, 1, 2, IMAGE].contains(id)) {
            controlled += 1;
            assert!(!ids.iter().any(|id| [0, 1, 2, IMAGE].contains(id)), "{text:?}: {ids:?}");
            assert_eq!(tokenizer.decode(&ids), text);
        } else {
            assert_eq!(ids, expected, "{text:?}");
            assert_eq!(tokenizer.decode(&ids), case["decoded"].as_str().unwrap(), "{text:?}");
        }
    }
    assert_eq!(controlled, 2);
}
