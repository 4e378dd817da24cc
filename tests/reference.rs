//! The golden files, linked in: what the reference implementation was given and what it computed.
//!
//! The makers in `golden/` say how they were made; keys are `CASE.NAME`.

use std::ops::Range;
use std::sync::LazyLock;

use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig};
use paligemma_nn::TokenKind;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Deserialize;

/// The tiny model's weights under the published names.
pub const WEIGHTS: &[u8] = include_bytes!("golden/tiny_pg1/published/model.safetensors");
/// The tiny model's configuration as published files spell it.
pub const CONFIG: &str = include_str!("golden/tiny_pg1/published/config.json");

/// The weights of the mask VQ-VAE, in an `.npz` archive as the published ones are.
pub const MASK_WEIGHTS: &[u8] = include_bytes!("golden/masks/vae.npz");

/// Weights of a mask VQ-VAE of the published size.
pub const FULL_MASK_WEIGHTS: &[u8] = include_bytes!("golden/mask_vqvae/vae-random.npz");

/// What keys of the mask VQ-VAE of the published size begin with.
const FULL_MASKS: &str = "mask_vqvae.";

/// Its values, whose names in the file have no case before them.
static FULL_MASK_FILE: LazyLock<SafeTensors<'static>> = LazyLock::new(|| {
    SafeTensors::deserialize(include_bytes!("golden/mask_vqvae/golden.safetensors"))
        .expect("golden files are safetensors files")
});

/// Values and, in files of their own, gradients and masks; no key is in two of them.
static FILES: LazyLock<[SafeTensors<'static>; 3]> = LazyLock::new(|| {
    let files: [&[u8]; 3] = [
        include_bytes!("golden/tiny_pg1/golden.safetensors"),
        include_bytes!("golden/tiny_pg1/gradients.safetensors"),
        include_bytes!("golden/masks/golden.safetensors"),
    ];
    files.map(|file| SafeTensors::deserialize(file).expect("golden files are safetensors files"))
});

/// The tiny model's configuration.
///
/// # Panics
/// If the golden file is damaged.
pub fn config() -> PaliGemmaConfig {
    PaliGemmaConfig::from_json(CONFIG).expect("the golden configuration is valid")
}

/// The tiny model's weights.
///
/// # Panics
/// If the golden file is damaged.
pub fn checkpoint() -> Checkpoint {
    Checkpoint::from_static(WEIGHTS).expect("the golden weights are a safetensors file")
}

fn view(key: &str) -> TensorView<'static> {
    let found = match key.strip_prefix(FULL_MASKS) {
        Some(name) => FULL_MASK_FILE.tensor(name).ok(),
        None => FILES.iter().find_map(|file| file.tensor(key).ok()),
    };
    found.unwrap_or_else(|| panic!("the golden files have no `{key}`"))
}

/// The length of each axis of a golden tensor.
///
/// # Panics
/// If there is no such tensor.
pub fn shape(key: &str) -> Vec<usize> {
    view(key).shape().to_vec()
}

/// A golden tensor of f32.
///
/// # Panics
/// If there is no such tensor.
pub fn floats(key: &str) -> Vec<f32> {
    let (values, rest) = view(key).data().as_chunks();
    assert!(rest.is_empty(), "`{key}` is f32");
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// A golden tensor of i64.
///
/// # Panics
/// If there is no such tensor.
pub fn integers(key: &str) -> Vec<i64> {
    let (values, rest) = view(key).data().as_chunks();
    assert!(rest.is_empty(), "`{key}` is i64");
    values.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
}

/// A golden tensor of flags, 1 for true.
///
/// # Panics
/// If there is no such tensor.
pub fn flags(key: &str) -> Vec<bool> {
    view(key).data().iter().map(|&byte| byte == 1).collect()
}

/// A beam search whose answers end early, and what the reference found.
#[derive(Clone, Debug, Deserialize)]
pub struct Search {
    /// The token that stands in for `<eos>`.
    pub eos: u32,
    /// How many answers are followed.
    pub num_beams: usize,
    /// The most tokens of an answer.
    pub max_new_tokens: usize,
    /// The answers, best first, with the token that ends them if they end.
    pub answers: Vec<Vec<i64>>,
    /// The score of each.
    pub scores: Vec<f32>,
}

/// Beam searches about the prompt of case `a`.
///
/// # Panics
/// If the golden file is damaged.
pub fn searches() -> Vec<Search> {
    serde_json::from_str(include_str!("golden/tiny_pg1/searches.json"))
        .expect("the golden searches are a list")
}

/// One row of a case, slot by slot as the reference was given it, padding included.
#[derive(Clone, Debug)]
pub struct Row {
    /// The tokens, image tokens and padding included.
    pub tokens: Vec<u32>,
    /// What each slot holds.
    pub kinds: Vec<TokenKind>,
    /// The slots of image tokens.
    pub pictures: Range<usize>,
}

impl Row {
    /// The prompt's text: prefix tokens after the image tokens.
    pub fn prefix(&self) -> Vec<u32> {
        self.of_kind(TokenKind::Prefix).skip(self.pictures.len()).collect()
    }

    /// The answer's tokens.
    pub fn suffix(&self) -> Vec<u32> {
        self.of_kind(TokenKind::Suffix).collect()
    }

    /// The slots that hold a token.
    pub fn slots(&self) -> Vec<usize> {
        (0..self.kinds.len()).filter(|&slot| self.kinds[slot] != TokenKind::Pad).collect()
    }

    /// The slots whose logits predict the answer: each slot before one of its tokens.
    pub fn predicting(&self) -> Vec<usize> {
        let suffix = (1..self.kinds.len()).filter(|&slot| self.kinds[slot] == TokenKind::Suffix);
        suffix.map(|slot| slot - 1).collect()
    }

    fn of_kind(&self, kind: TokenKind) -> impl Iterator<Item = u32> {
        let slots = self.tokens.iter().zip(&self.kinds);
        slots.filter(move |(_, of)| **of == kind).map(|(&token, _)| token)
    }
}

/// The rows of a case: token type 0 is the prefix, 1 the answer, attention mask 0 padding.
///
/// # Panics
/// If there is no such case.
pub fn rows(case: &str) -> Vec<Row> {
    let image = i64::from(config().image_token_index);
    let length = shape(&format!("{case}.in.input_ids"))[1];
    let input = |name: &str| integers(&format!("{case}.in.{name}"));
    let (ids, present, types) =
        (input("input_ids"), input("attention_mask"), input("token_type_ids"));
    let row = |start: usize| {
        let range = start..start + length;
        let ids = &ids[range.clone()];
        let kind = |slot: usize| match (present[slot], types[slot]) {
            (0, _) => TokenKind::Pad,
            (_, 0) => TokenKind::Prefix,
            _ => TokenKind::Suffix,
        };
        let first = ids.iter().position(|&id| id == image).unwrap_or(0);
        Row {
            tokens: ids.iter().map(|&id| u32::try_from(id).expect("ids are positive")).collect(),
            kinds: range.map(kind).collect(),
            pictures: first..first + ids.iter().filter(|&&id| id == image).count(),
        }
    };
    (0..ids.len()).step_by(length).map(row).collect()
}
