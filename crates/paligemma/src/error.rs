//! Why a model could not be opened or could not answer.

use std::path::PathBuf;

use paligemma_checkpoint::{AdapterError, ConfigError, LoadError, SourceError};
use paligemma_processor::{PictureError, TokenizerError};
use thiserror::Error;

use crate::DeviceError;

/// Everything that may go wrong between a model's name and its answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model is neither a folder nor a hub id, or cannot be fetched.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] paligemma_checkpoint::hub::HubError),
    /// The model is not a folder.
    #[error("{} is not a folder with a checkpoint", path.display())]
    NotAFolder {
        /// What was given.
        path: PathBuf,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights' files cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The weights do not fit the configuration.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An adapter, or the pointer to it, cannot be used.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The model that an adapter is for cannot be used.
    #[error(
        "the adapter in {} is for `{base}`: {cause}; name the model it is for with --base",
        adapter.display()
    )]
    AdapterBase {
        /// The adapter's folder.
        adapter: PathBuf,
        /// What it is for.
        base: String,
        /// What is wrong with that.
        cause: String,
    },
    /// An adapter that says nothing of the model that it is for.
    #[error("the adapter in {} does not say for which model it is: name it with --base", adapter.display())]
    NoBase {
        /// The adapter's folder.
        adapter: PathBuf,
    },
    /// A base was named for what is no adapter.
    #[error("`{model}` is no adapter, which could have a base: leave --base out")]
    NoAdapter {
        /// What was asked for.
        model: String,
    },
    /// A model without a configuration of its own, so without a head for retrieval.
    #[error("{model} is no ColPali, which reads pages: name one with --model")]
    NoColPali {
        /// The model.
        model: String,
    },
    /// A ColPali for pictures of another size.
    #[error("{model} is a ColPali, whose pages keep their size: leave --resolution out")]
    ColPaliResolution {
        /// The model.
        model: String,
    },
    /// A run that ended before its first checkpoint.
    #[error("the run in {} has no checkpoint yet: go on with it first", run.display())]
    NoCheckpoint {
        /// The run's folder.
        run: PathBuf,
    },
    /// A run's folder names no folder in it.
    #[error("{} names `{}`, which is no folder beside it", pointer.display(), name.display())]
    Latest {
        /// The file `latest`.
        pointer: PathBuf,
        /// What it names.
        name: PathBuf,
    },
    /// The tokenizer or a text cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer knows tokens that the model has no embedding for.
    #[error(
        "the tokenizer has {tokens} tokens, the model {rows}: use the config.json and \
         tokenizer.json of the same checkpoint"
    )]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A picture cannot be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The device does not compute in the dtype.
    #[error("{device} does not compute in {dtype}: use `--dtype f32`{}", flex_only(*dtype))]
    Dtype {
        /// The device.
        device: crate::DeviceSpec,
        /// The dtype asked for.
        dtype: crate::Dtype,
    },
    /// The machine has too little memory for the model.
    #[error("the model takes {needed} of memory in {dtype} and {available} are free: {way}")]
    Memory {
        /// How the model is to be held.
        dtype: crate::Dtype,
        /// What has to be in memory at any time.
        needed: crate::Size,
        /// What there is.
        available: crate::Size,
        /// What would fit.
        way: String,
    },
    /// The prompt and its pictures leave no room for an answer.
    #[error(
        "the prompt has {tokens} tokens with its pictures, the model's limit is {limit}: shorten it"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions of the model.
        limit: usize,
    },
    /// An answer to be weighed does not fit behind its prompt.
    #[error(
        "the answer `{}` has {tokens} tokens, after the prompt there is room for {room}: shorten it",
        short(text)
    )]
    AnswerTooLong {
        /// The answer.
        text: String,
        /// Its tokens, with the closing `<eos>`.
        tokens: usize,
        /// Positions of the model that the prompt leaves.
        room: usize,
    },
    /// No token may be generated.
    #[error("zero new tokens were asked for: allow at least one")]
    NoNewTokens,
    /// A sampling option is out of range.
    #[error("{option} is {value}: it must be {range}")]
    Sampling {
        /// Which option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// There is nothing to choose from, or nothing to look for.
    #[error("no {what} was given: name at least one")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
    /// One of several is blank.
    #[error("{what} {place} of {count} is blank: write something, or leave it out")]
    Blank {
        /// What it is.
        what: &'static str,
        /// Which, from one.
        place: usize,
        /// How many there are.
        count: usize,
    },
    /// A label that could not be read back from an answer.
    #[error(
        "the label {label:?} cannot stand in an answer: leave out `;`, `<loc`, `<seg` and characters \
         that the tokenizer does not know"
    )]
    Label {
        /// The label.
        label: String,
    },
    /// More answers were asked for than there are ways to find.
    #[error(
        "{answers} answers cannot be found with {beams} beams: ask for as many beams, or let tokens \
         be drawn"
    )]
    TooManyAnswers {
        /// Answers asked for.
        answers: usize,
        /// Beams asked for.
        beams: usize,
    },
    /// The configuration and the tokenizer disagree about what ends an answer.
    #[error(
        "the configuration says that token {config} ends an answer, the tokenizer says {tokenizer}: \
         use the config.json and tokenizer.json of the same checkpoint"
    )]
    EndToken {
        /// `eos_token_id` of the configuration.
        config: u32,
        /// The tokenizer's `<eos>`.
        tokenizer: u32,
    },
    /// Masks were asked of a model that has no mask VQ-VAE.
    #[error(
        "the model has nothing to make masks with: fetch \
         https://storage.googleapis.com/big_vision/paligemma/vae-oid.npz, then put it into the \
         model's folder or name it with --mask-model"
    )]
    NoMasks,
    /// A template that a label is to be put into.
    #[error(
        "the template `{template}` has {{}}: a label is the answer to the prompt, so write the \
         words around it into the labels"
    )]
    Template {
        /// The template.
        template: String,
    },
    /// Kept features are not as many as the model makes.
    #[error("there are {found} numbers of picture features, the model makes {expected}")]
    FeatureCount {
        /// Numbers that were given.
        found: usize,
        /// Numbers that pictures of this count have.
        expected: usize,
    },
    /// All pictures look alike to the model.
    #[error(
        "two different pictures have the same features: the vision tower's weights are damaged"
    )]
    Blind,
    /// The model's picture features are not finite.
    #[error(
        "the picture features are not finite: the model's weights are damaged, or too large for \
         {dtype}; try `--dtype f32`"
    )]
    NonFiniteFeatures {
        /// The dtype the model computes in.
        dtype: crate::Dtype,
    },
    /// The model computed numbers that are not finite.
    #[error(
        "the model's logits are not finite after {tokens} tokens: \
         its weights are damaged, or too large for {dtype}; try `--dtype f32`"
    )]
    NonFinite {
        /// Tokens generated before.
        tokens: usize,
        /// The dtype it computed in.
        dtype: crate::Dtype,
    },
}

impl Error {
    /// Refuses no texts at all, and those without a word.
    pub(crate) fn check_texts(what: &'static str, texts: &[String]) -> Result<(), Self> {
        let blank = texts.iter().position(|text| text.trim().is_empty());
        match (texts.len(), blank) {
            (0, _) => Err(Self::Nothing { what }),
            (count, Some(at)) => Err(Self::Blank { what, place: at + 1, count }),
            _ => Ok(()),
        }
    }

    /// Refuses logits with which nothing can be chosen, after `tokens` tokens.
    pub(crate) fn check_finite(
        logits: &[f32],
        tokens: usize,
        dtype: crate::Dtype,
    ) -> Result<(), Self> {
        let finite = logits.iter().all(|logit| logit.is_finite());
        if finite { Ok(()) } else { Err(Self::NonFinite { tokens, dtype }) }
    }
}

/// The beginning of a text, enough to know it by.
fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Where a dtype that other devices lack is to be had.
fn flex_only(dtype: crate::Dtype) -> &'static str {
    match dtype {
        crate::Dtype::Int8 | crate::Dtype::Int4 => ", or `--device flex`",
        _ => "",
    }
}
