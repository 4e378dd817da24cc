//! The golden files, linked in: what the reference implementation was given and what it computed.
//!
//! The makers in `golden/` say how they were made; keys are `CASE.NAME`.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::LazyLock;

use paligemma_checkpoint::{Checkpoint, PaliGemmaConfig};
use paligemma_nn::TokenKind;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Deserialize;

/// The weights of the mask VQ-VAE, in an `.npz` archive as the published ones are.
pub const MASK_WEIGHTS: &[u8] = include_bytes!("golden/masks/vae.npz");

/// Weights of a mask VQ-VAE of the published size.
pub const FULL_MASK_WEIGHTS: &[u8] = include_bytes!("golden/mask_vqvae/vae-random.npz");

/// What keys of the mask VQ-VAE of the published size begin with.
const FULL_MASKS: &str = "mask_vqvae.";

/// Golden tensors by key; no key is in two of the files, each of which has a beginning that its own
/// names lack.
#[derive(Debug)]
pub struct Values(Vec<(&'static str, SafeTensors<'static>)>);

/// What was computed of masks: of a small model, and of one of the published size.
pub static MASKS: LazyLock<Values> = LazyLock::new(|| {
    Values::new(&[
        (FULL_MASKS, include_bytes!("golden/mask_vqvae/golden.safetensors")),
        ("", include_bytes!("golden/masks/golden.safetensors")),
    ])
});

static GEMMA: LazyLock<Values> = LazyLock::new(|| {
    Values::new(&[
        ("", include_bytes!("golden/tiny_pg1/golden.safetensors")),
        ("", include_bytes!("golden/tiny_pg1/gradients.safetensors")),
    ])
});

static GEMMA_2: LazyLock<Values> = LazyLock::new(|| {
    Values::new(&[
        ("", include_bytes!("golden/tiny_pg2/golden.safetensors")),
        ("", include_bytes!("golden/tiny_pg2/gradients.safetensors")),
    ])
});

impl Values {
    fn new(files: &[(&'static str, &'static [u8])]) -> Self {
        let open =
            |bytes| SafeTensors::deserialize(bytes).expect("golden files are safetensors files");
        Self(files.iter().map(|&(start, bytes)| (start, open(bytes))).collect())
    }

    fn view(&self, key: &str) -> TensorView<'static> {
        let files = self.0.iter();
        let mut found =
            files.filter_map(|(start, file)| file.tensor(key.strip_prefix(start)?).ok());
        found.next().unwrap_or_else(|| panic!("the golden files have no `{key}`"))
    }

    /// The length of each axis of a golden tensor.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn shape(&self, key: &str) -> Vec<usize> {
        self.view(key).shape().to_vec()
    }

    /// A golden tensor of f32.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn floats(&self, key: &str) -> Vec<f32> {
        let view = self.view(key);
        let (values, rest) = view.data().as_chunks();
        assert!(rest.is_empty(), "`{key}` is f32");
        values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    /// A golden tensor of i64.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn integers(&self, key: &str) -> Vec<i64> {
        let view = self.view(key);
        let (values, rest) = view.data().as_chunks();
        assert!(rest.is_empty(), "`{key}` is i64");
        values.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
    }

    /// A golden tensor of flags, 1 for true.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn flags(&self, key: &str) -> Vec<bool> {
        self.view(key).data().iter().map(|&byte| byte == 1).collect()
    }
}

/// A tiny model with random weights, and what the reference computed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiny {
    /// PaliGemma.
    Gemma,
    /// PaliGemma 2.
    Gemma2,
}

impl Tiny {
    /// Both generations.
    pub const ALL: [Self; 2] = [Self::Gemma, Self::Gemma2];

    /// The configuration as published files spell it.
    ///
    /// # Panics
    /// If the golden file is damaged.
    pub fn config(self) -> PaliGemmaConfig {
        let json = match self {
            Self::Gemma => include_str!("golden/tiny_pg1/published/config.json"),
            Self::Gemma2 => include_str!("golden/tiny_pg2/published/config.json"),
        };
        PaliGemmaConfig::from_json(json).expect("the golden configuration is valid")
    }

    /// The weights under the published names.
    ///
    /// # Panics
    /// If the golden file is damaged.
    pub fn checkpoint(self) -> Checkpoint {
        let file: &[u8] = match self {
            Self::Gemma => include_bytes!("golden/tiny_pg1/published/model.safetensors"),
            Self::Gemma2 => include_bytes!("golden/tiny_pg2/published/model.safetensors"),
        };
        Checkpoint::from_static(file).expect("the golden weights are a safetensors file")
    }

    /// Beam searches about the prompt of case `a`.
    ///
    /// # Panics
    /// If the golden file is damaged.
    pub fn searches(self) -> Vec<Search> {
        let json = match self {
            Self::Gemma => include_str!("golden/tiny_pg1/searches.json"),
            Self::Gemma2 => include_str!("golden/tiny_pg2/searches.json"),
        };
        serde_json::from_str(json).expect("the golden searches are a list")
    }

    /// The largest of the reference's logits in case `a`, whose size is that of what rounding costs.
    pub fn largest_logit(self) -> f32 {
        match self {
            Self::Gemma => 3.36,
            Self::Gemma2 => 1.43,
        }
    }

    /// The rows of a case: token type 0 is the prefix, 1 the answer, attention mask 0 padding.
    ///
    /// # Panics
    /// If there is no such case.
    pub fn rows(self, case: &str) -> Vec<Row> {
        let image = i64::from(self.config().image_token_index);
        let length = self.shape(&format!("{case}.in.input_ids"))[1];
        let input = |name: &str| self.integers(&format!("{case}.in.{name}"));
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
                tokens: ids
                    .iter()
                    .map(|&id| u32::try_from(id).expect("ids are positive"))
                    .collect(),
                kinds: range.map(kind).collect(),
                pictures: first..first + ids.iter().filter(|&&id| id == image).count(),
            }
        };
        (0..ids.len()).step_by(length).map(row).collect()
    }
}

impl Deref for Tiny {
    type Target = Values;

    fn deref(&self) -> &Values {
        match self {
            Self::Gemma => &GEMMA,
            Self::Gemma2 => &GEMMA_2,
        }
    }
}

impl fmt::Display for Tiny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gemma => "PaliGemma",
            Self::Gemma2 => "PaliGemma 2",
        })
    }
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
