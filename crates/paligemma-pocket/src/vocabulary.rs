//! The model's own vocabulary, and the tokenizer and preprocessor files that come with it.
//!
//! Every word of the prompts and answers is one token, at the start of a text and after a space;
//! anything else is spelled by characters, and what is not ASCII by bytes. So a plate's text costs
//! one token a letter, and any text can be encoded and comes back as it was.

use std::io;
use std::path::Path;

use paligemma_processor::{LOCATIONS, SEGMENTS};
use serde_json::{Map, Value, json};

use crate::scene::SIDE;
use crate::thing::{Colour, Shape, Size};

/// `<pad>`, which fills up the rows of a batch.
pub const PAD: u32 = 0;
/// `<eos>`, which ends an answer.
pub const EOS: u32 = 1;
/// `<bos>`, which begins a prompt.
pub const BOS: u32 = 2;
/// The newline, which ends a prompt.
pub const NEWLINE: u32 = 4;
/// Side of a patch, in pixels, which with the picture's side gives the number of image tokens.
pub const PATCH: u32 = 14;

/// Words of prompts and answers that are not names of colours, shapes or sizes.
const WORDS: [&str; 38] = [
    "caption", "answer", "detect", "segment", "ocr", "question", "en", "how", "many", "what",
    "where", "is", "are", "there", "a", "an", "the", "and", "or", "of", "in", "color", "shape",
    "shapes", "thing", "things", "yes", "no", "left", "right", "top", "bottom", "middle", "above",
    "below", "picture", "text", "nothing",
];

/// What stands for a space inside tokens, as in `SentencePiece`.
const SPACE: &str = "\u{2581}";

/// Pieces before the merges: a word with the space before it, or any other character, likewise.
const PIECES: &str = "\u{2581}?[A-Za-z]+|\u{2581}?[^A-Za-z\u{2581}]|\u{2581}";

/// Every word that is one token.
pub fn words() -> Vec<&'static str> {
    WORDS
        .into_iter()
        .chain(Colour::ALL.map(Colour::name))
        .chain(Shape::ALL.map(Shape::name))
        .chain(Shape::ALL.map(Shape::plural))
        .chain([Size::Small, Size::Large].map(Size::name))
        .collect()
}

/// Tokens in the order of their ids, up to the first `<loc>`.
fn plain_tokens() -> Vec<String> {
    let mut tokens: Vec<String> =
        ["<pad>", "<eos>", "<bos>", "<unk>", "\n"].map(str::to_owned).into();
    for word in words() {
        tokens.extend([format!("{SPACE}{word}"), word.to_owned()]);
    }
    tokens.extend([format!("{SPACE};"), SPACE.to_owned()]);
    for character in ('!'..='~').map(String::from) {
        // `a` is a word already.
        if !tokens.contains(&character) {
            tokens.push(character);
        }
    }
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    tokens
}

/// Tokens known outside of the merges, in the order of their ids: locations, segments, the image.
fn added_tokens() -> Vec<String> {
    let locations = (0..LOCATIONS).map(|number| format!("<loc{number:04}>"));
    let segments = (0..SEGMENTS).map(|number| format!("<seg{number:03}>"));
    locations.chain(segments).chain(["<image>".to_owned()]).collect()
}

/// Number of tokens.
pub fn size() -> usize {
    plain_tokens().len() + added_tokens().len()
}

/// The id of `<loc0000>`; the others follow it.
pub fn first_location() -> u32 {
    plain_tokens().len() as u32
}

/// The id of `<image>`, the last.
pub fn image_token() -> u32 {
    size() as u32 - 1
}

/// `tokenizer.json` as the `tokenizers` library reads it: byte-pair encoding without any merges,
/// where a piece that is a token is that token and every other piece falls apart into characters
/// and bytes. Spaces are written and read as in Gemma's.
pub fn tokenizer() -> Value {
    let plain = plain_tokens();
    let entry = |id: usize, content: &str, special: bool| {
        json!({
            "id": id, "content": content, "special": special, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false,
        })
    };
    let control = plain.iter().take(4).enumerate().map(|(id, token)| entry(id, token, true));
    let rest = added_tokens();
    let rest = rest.iter().enumerate();
    let rest = rest.map(|(index, token)| entry(plain.len() + index, token, token == "<image>"));
    let added: Vec<Value> = control.chain(rest).collect();
    let vocabulary: Map<String, Value> =
        plain.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "post_processor": null,
        "added_tokens": added,
        "normalizer": { "type": "Replace", "pattern": { "String": " " }, "content": SPACE },
        "pre_tokenizer": {
            "type": "Split", "pattern": { "Regex": PIECES }, "behavior": "Isolated",
            "invert": false,
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                { "type": "Replace", "pattern": { "String": SPACE }, "content": " " },
                { "type": "ByteFallback" },
                { "type": "Fuse" },
            ],
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "byte_fallback": true,
            "ignore_merges": true, "vocab": vocabulary, "merges": [],
        },
    })
}

/// `tokenizer_config.json`: the names of the control tokens.
pub fn tokenizer_config() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "processor_class": "PaliGemmaProcessor",
        "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>",
        "extra_special_tokens": { "image_token": "<image>" },
        "add_bos_token": false, "add_eos_token": false,
        "clean_up_tokenization_spaces": false, "model_max_length": 8192,
    })
}

/// `preprocessor_config.json`, as published checkpoints have it.
pub fn preprocessor_config() -> Value {
    let tokens = (SIDE / PATCH).pow(2);
    json!({
        "image_processor_type": "SiglipImageProcessor", "processor_class": "PaliGemmaProcessor",
        "do_convert_rgb": null, "do_normalize": true, "do_rescale": true, "do_resize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "image_seq_length": tokens, "resample": 3, "rescale_factor": 1.0 / 255.0,
        "size": { "height": SIDE, "width": SIDE },
    })
}

/// Writes `tokenizer.json`, `tokenizer_config.json` and `preprocessor_config.json` into `folder`,
/// which is there already.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path) -> io::Result<()> {
    let pretty = |value| serde_json::to_string_pretty(&value).map(|text| text + "\n");
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string())?;
    std::fs::write(folder.join("tokenizer_config.json"), pretty(tokenizer_config())?)?;
    std::fs::write(folder.join("preprocessor_config.json"), pretty(preprocessor_config())?)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use tokenizers::Tokenizer;

    use super::*;
    use crate::scene::{MOST_THINGS, PLATE_WORDS, Scene};
    use crate::task::{MaskCodes, Task, examples, segment};

    fn loaded() -> Tokenizer {
        tokenizer().to_string().parse().unwrap()
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
    }

    #[test]
    fn ids_are_where_the_constants_say() {
        let tokenizer = loaded();
        assert_eq!(tokenizer.get_vocab_size(true), size());
        let id = |token: &str| tokenizer.token_to_id(token);
        let control = [("<pad>", PAD), ("<eos>", EOS), ("<bos>", BOS), ("\n", NEWLINE)];
        for (token, expected) in control {
            assert_eq!(id(token), Some(expected), "{token:?}");
        }
        assert_eq!(id("<image>"), Some(image_token()));
        let all: std::collections::BTreeSet<u32> =
            tokenizer.get_vocab(true).into_values().collect();
        assert_eq!(all, (0..size() as u32).collect());
        assert!(tokenizer.to_string(false).unwrap().len() < 200_000);
    }

    #[test]
    fn the_processor_takes_it_and_finds_every_location_and_segment() {
        let json = tokenizer().to_string();
        let loaded =
            paligemma_processor::Tokenizer::from_bytes(json.as_bytes(), image_token()).unwrap();
        let special = loaded.special();
        let control = [special.pad, special.eos, special.bos, special.newline, special.image];
        assert_eq!(control, [PAD, EOS, BOS, NEWLINE, image_token()]);
        for number in 0..LOCATIONS {
            assert_eq!(loaded.loc(number), first_location() + number as u32);
        }
        for number in 0..SEGMENTS {
            assert_eq!(loaded.seg(number), first_location() + (LOCATIONS + number) as u32);
        }
        assert_eq!(loaded.vocab_size(), size());
    }

    #[test]
    fn words_are_one_token_and_plates_one_a_letter() {
        let tokenizer = loaded();
        for word in words() {
            assert_eq!(ids(&tokenizer, word).len(), 1, "{word}");
            assert_eq!(ids(&tokenizer, &format!("a {word}")).len(), 2, "{word}");
        }
        for word in PLATE_WORDS.map(str::to_owned).into_iter().chain(["7".into(), "305".into()]) {
            assert_eq!(ids(&tokenizer, &word).len(), word.len(), "{word}");
            assert_eq!(ids(&tokenizer, &word.to_uppercase()).len(), word.len(), "{word}");
        }
    }

    #[test]
    fn prompts_and_answers_cost_one_token_a_word() {
        let tokenizer = loaded();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for seed in 0..2000 {
            for example in examples(&Scene::generate(seed, 1..=4), 2, &mut rng) {
                for text in [&example.prefix, &example.suffix] {
                    if example.task == Task::Ocr && text == &example.suffix {
                        continue;
                    }
                    // The space between a semicolon and a location is a token of its own.
                    let things = text.matches("; <loc").count();
                    let marks = text.matches([',', '?']).count();
                    let locations = text.matches("<loc").count();
                    let words = text.split_whitespace().filter(|w| !w.starts_with("<loc")).count();
                    let expected = words + marks + locations + things;
                    assert_eq!(ids(&tokenizer, text).len(), expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn the_longest_segmentation_fits_into_an_answer() {
        let tokenizer = loaded();
        let codes = std::array::from_fn(|place| 8 * place as u8);
        let asked: Vec<(usize, MaskCodes)> = (0..MOST_THINGS).map(|thing| (thing, codes)).collect();
        let example = segment(&Scene::generate(3, MOST_THINGS..=MOST_THINGS), &asked);
        let length = ids(&tokenizer, &example.suffix).len();
        // Four locations, 16 codes and two words each; a semicolon and a space between them.
        assert_eq!(length, MOST_THINGS * 22 + (MOST_THINGS - 1) * 2);
        assert!(length < paligemma::Options::default().max_new_tokens);
    }

    #[test]
    fn any_text_comes_back_as_it_was() {
        let tokenizer = loaded();
        let texts = [
            "a small red circle, a large blue star and a white cross",
            "<loc0000><loc1023><loc0512><loc0001> red circle ; <loc0000><loc0001><loc0002><loc0003> star",
            "  two spaces,\ttab and\n\nlines \n",
            "What's Gr\u{fc}n? \u{1f600} \u{4f60}\u{597d} #%&/()=",
            "<seg000><seg127>",
            "",
        ];
        for text in texts {
            let ids = ids(&tokenizer, text);
            assert!(!ids.contains(&3), "{text:?} has no unknown token");
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        }
    }

    #[test]
    fn the_newline_after_a_prompt_is_its_own_token() {
        let tokenizer = loaded();
        for prompt in ["caption en", "answer en what color is the star?", "ocr", "detect a 7"] {
            let mut alone = ids(&tokenizer, prompt);
            alone.push(NEWLINE);
            assert_eq!(ids(&tokenizer, &format!("{prompt}\n")), alone);
        }
    }
}
