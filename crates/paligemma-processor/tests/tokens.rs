//! Prompts, answers and tokenizer files, good and bad.

mod support;

use std::{path::Path, sync::LazyLock};

use paligemma_processor::{Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{IMAGE, tokenizer, tokenizer_json};

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(tokenizer);

fn load(json: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_bytes(json.to_string().as_bytes(), IMAGE)
}

fn added(json: &mut Value) -> &mut Vec<Value> {
    json["added_tokens"].as_array_mut().unwrap()
}

fn id(json: &Value, token: &str) -> u32 {
    json["model"]["vocab"][token].as_u64().unwrap() as u32
}

fn streamed(ids: &[u32]) -> String {
    let mut stream = TOKENIZER.stream();
    let mut text: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
    text.extend(stream.finish());
    text
}

#[test]
fn a_prompt_is_images_bos_prefix_newline() {
    let json = tokenizer_json();
    let [c, newline] = ["ca", "\n"].map(|token| id(&json, token));
    let tail = [id(&json, "▁ca"), id(&json, "t"), newline];
    let ids = TOKENIZER.encode_prompt("ca cat", 2, 3).unwrap();
    // The file asks for three tokens at most, nine at least and a <bos> of its own: not here.
    assert_eq!(ids, [vec![IMAGE; 6], vec![2, c], tail.to_vec()].concat());
    assert_eq!(TOKENIZER.encode_suffix("ca cat").unwrap(), [&[c], &tail[..2]].concat());
    assert_eq!(TOKENIZER.decode(&ids), "ca cat\n");
    assert_eq!(TOKENIZER.vocab_size(), 2001);
    assert_eq!(TOKENIZER.special().newline, newline);
}

#[test]
fn locations_and_segments_are_tokens_in_any_text() {
    let tokenizer = &*TOKENIZER;
    let ids = tokenizer.encode_suffix("<loc0000><loc1023><seg000><seg127>").unwrap();
    assert_eq!(ids, [tokenizer.loc(0), tokenizer.loc(1023), tokenizer.seg(0), tokenizer.seg(127)]);
    assert_eq!(tokenizer.decode(&ids), "<loc0000><loc1023><seg000><seg127>");
}

#[test]
fn control_tokens_are_not_shown() {
    let text = TOKENIZER.encode_suffix("cat").unwrap();
    let ids = [&[0, 2, IMAGE][..], &text, &[1, 0]].concat();
    assert_eq!((TOKENIZER.decode(&ids), streamed(&ids)), ("cat".into(), "cat".into()));
    // Published models have more rows than their vocabulary.
    assert_eq!(TOKENIZER.decode(&[IMAGE + 7]), "");
}

#[test]
fn characters_stream_whole() {
    let ids = TOKENIZER.encode_suffix("é🐯").unwrap();
    assert_eq!(ids.len(), 5);
    let mut stream = TOKENIZER.stream();
    let pieces: Vec<_> = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pieces, [Some("é".into()), None, None, None, Some("🐯".into())]);
    assert_eq!((stream.push(ids[1]), stream.push(ids[2])), (None, None));
    assert_eq!(stream.finish().as_deref(), Some("\u{fffd}\u{fffd}"));
    assert_eq!(stream.finish(), None);
}

#[test]
fn an_empty_prompt_is_an_error() {
    for prefix in ["", " ", "\n\t"] {
        let error = TOKENIZER.encode_prompt(prefix, 1, 4).unwrap_err();
        assert!(matches!(error, TokenizerError::EmptyPrompt), "{error}");
    }
}

#[test]
fn the_first_missing_token_is_named() {
    for token in ["<loc0000>", "<loc0777>", "<seg000>", "<seg127>"] {
        let mut json = tokenizer_json();
        added(&mut json).retain(|added| added["content"] != token);
        // The ids behind it must not move up.
        json["model"]["vocab"]["filler"] = json!(1999);
        let error = load(&json).unwrap_err();
        assert!(matches!(&error, TokenizerError::MissingToken { token: name } if name == token));
        assert!(error.to_string().contains(token), "{error}");
    }
    let mut json = tokenizer_json();
    added(&mut json).remove(0);
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    vocab.remove("<pad>");
    vocab.insert("<0>".into(), json!(0));
    assert!(load(&json).unwrap_err().to_string().contains("<pad>"));
}

#[test]
fn a_token_that_is_split_is_missing() {
    let mut json = tokenizer_json();
    added(&mut json).retain(|added| added["content"] != "<seg127>");
    json["model"]["vocab"]["<seg127>"] = json!(1999);
    assert!(load(&json).unwrap_err().to_string().contains("<seg127>"));
}

#[test]
fn the_image_token_must_be_that_of_the_configuration() {
    let mut json = tokenizer_json();
    let image = json!({"id": 1518, "content": "<image>", "special": true, "normalized": false,
                       "single_word": false, "lstrip": false, "rstrip": false});
    added(&mut json).push(image);
    let error = load(&json).unwrap_err().to_string();
    assert!(error.contains("2000") && error.contains("token 1518"), "{error}");
    let json = tokenizer_json().to_string();
    let first_location = TOKENIZER.loc(0);
    let error = Tokenizer::from_bytes(json.as_bytes(), first_location).unwrap_err().to_string();
    assert!(error.contains("<loc0000>"), "{error}");
}

#[test]
fn bad_files_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    for contents in [None, Some("")].into_iter().chain([Some("{}"), Some("{\"model\": 3")]) {
        if let Some(contents) = contents {
            std::fs::write(&path, contents).unwrap();
        }
        let error = Tokenizer::from_file(&path, IMAGE).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(Tokenizer::from_file(Path::new("/"), IMAGE).is_err());
}

proptest! {
    #[test]
    fn no_text_holds_a_control_token(
        parts in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "<image>", "<bos>", "<eos>", "<pad>", "<unk>", "<", ">", "<bo", "s>", "ima",
                    "ge>", " ", "<loc0123>", "<seg045>", "cat",
                ]).prop_map(String::from),
                any::<String>(),
            ],
            0..12,
        )
    ) {
        let text = parts.concat();
        let ids = TOKENIZER.encode_suffix(&text).unwrap();
        prop_assert!(ids.iter().all(|id| ![0, 1, 2, 3, IMAGE].contains(id)), "{text:?}: {ids:?}");
        // `▁` is this vocabulary's space, in and out.
        prop_assert_eq!(TOKENIZER.decode(&ids), text.replace('▁', " "));
        if !text.contains('\u{fffd}') {
            prop_assert_eq!(streamed(&ids), text.replace('▁', " "));
        }
    }

    #[test]
    fn any_ids_stream_without_a_panic(ids in prop::collection::vec(0..2005u32, 0..40)) {
        let (whole, pieces) = (TOKENIZER.decode(&ids), streamed(&ids));
        prop_assert!(whole == pieces || whole.contains('\u{fffd}'), "{whole:?} {pieces:?}");
    }
}
