//! A small tokenizer of Gemma's kind: BPE with byte fallback and `▁` for a space.

use std::collections::BTreeMap;

use paligemma_processor::Tokenizer;
use serde_json::{Value, json};

/// The id of `<image>` in [`tokenizer`], the last of all.
pub(crate) const IMAGE: u32 = 2000;

/// The tokenizer's file, without `<image>`.
pub(crate) fn tokenizer_json() -> Value {
    let mut pieces: Vec<String> = ["<pad>", "<eos>", "<bos>", "<unk>"].map(String::from).into();
    pieces.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    pieces.extend(["\n", "▁", "▁ca", "ca", "▁c", "at", "é"].map(String::from));
    pieces.extend((33..127u8).map(|byte| char::from(byte).to_string()));
    // Merges that spell control tokens: what is only split off as an added token gets through.
    pieces.extend(["<b", "<bo", "<bos", "<i", "<im"].map(String::from));
    let mut merges = vec![["▁", "c"], ["▁c", "a"], ["c", "a"], ["a", "t"]];
    merges.extend([["<", "b"], ["<b", "o"], ["<bo", "s"], ["<bos", ">"], ["<", "i"], ["<i", "m"]]);
    let vocab: BTreeMap<&String, usize> = pieces.iter().zip(0..).collect();
    let added = |id: usize, content: String, special: bool| {
        json!({"id": id, "content": content, "special": special, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
    };
    let mut tokens: Vec<Value> =
        (0..4).map(|id: usize| added(id, pieces[id].clone(), true)).collect();
    tokens.extend((0..1024).map(|k| added(pieces.len() + k, format!("<loc{k:04}>"), false)));
    tokens.extend((0..128).map(|k| added(pieces.len() + 1024 + k, format!("<seg{k:03}>"), false)));
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst",
                       "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": tokens,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                          "behavior": "MergedWithPrevious", "invert": false},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true,
                  "byte_fallback": true, "ignore_merges": false, "vocab": vocab,
                  "merges": merges},
    })
}

/// The tokenizer itself.
pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::from_bytes(tokenizer_json().to_string().as_bytes(), IMAGE).unwrap()
}
