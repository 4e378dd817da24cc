//! Text to token ids and back with a checkpoint's `tokenizer.json`, its needed tokens checked.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokenizers::Tokenizer as Vocabulary;

use crate::stream::TextStream;

/// How many tokens `<loc0000>`, `<loc0001>` and so on there are: positions along a side.
pub const LOCATIONS: usize = 1024;

/// How many tokens `<seg000>`, `<seg001>` and so on there are: codes of a mask.
pub const SEGMENTS: usize = 128;

const IMAGE: &str = "<image>";
const NEWLINE: &str = "\n";

/// Why a tokenizer could not be loaded, or a text not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file could not be read.
    #[error("cannot read the tokenizer {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not the JSON of a tokenizer.
    #[error("not a tokenizer.json, copy the checkpoint's file anew: {reason}")]
    Parse {
        /// What the parser says.
        reason: String,
    },
    /// A token the model cannot do without is absent, or its text becomes several tokens.
    #[error(
        "the tokenizer has no single token {token:?}: use the tokenizer.json of a PaliGemma \
         checkpoint, not that of plain Gemma"
    )]
    MissingToken {
        /// The first token that is missing.
        token: String,
    },
    /// The configuration and the vocabulary disagree about the image token.
    #[error(
        "the configuration says that token {index} is {IMAGE}, the tokenizer says {found}: use \
         the config.json and tokenizer.json of the same checkpoint"
    )]
    ImageToken {
        /// `image_token_index` of the configuration.
        index: u32,
        /// What the vocabulary has instead.
        found: String,
    },
    /// Nothing is asked of the model.
    #[error("the prompt is empty: say what to do, such as \"caption en\"")]
    EmptyPrompt,
    /// The tokenizer turns another spelling into a token that only the processor may place.
    #[error("the text contains the control token {token}: take it out")]
    ControlToken {
        /// The control token.
        token: String,
    },
    /// The tokenizer failed on a text.
    #[error("cannot encode the text: {reason}")]
    Encode {
        /// What the tokenizer says.
        reason: String,
    },
    /// What went wrong, with the file it went wrong in.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with its contents.
        source: Box<TokenizerError>,
    },
}

/// Ids of the tokens that a prompt and its answer are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `<bos>`, between the image tokens and the prefix.
    pub bos: u32,
    /// `<eos>`, which ends an answer.
    pub eos: u32,
    /// `<pad>`, which fills short rows of a batch.
    pub pad: u32,
    /// `<image>`, whose embeddings the vision tower's features replace.
    pub image: u32,
    /// The newline between prefix and answer.
    pub newline: u32,
}

impl SpecialTokens {
    /// Resolves the tokens, and holds the image token against the vocabulary.
    fn resolve(vocabulary: &Vocabulary, image: u32) -> Result<Self, TokenizerError> {
        let by_name = |name: &str| {
            let missing = || TokenizerError::MissingToken { token: name.to_owned() };
            vocabulary.token_to_id(name).ok_or_else(missing)
        };
        let of = |found| TokenizerError::ImageToken { index: image, found };
        if let Some(id) = vocabulary.token_to_id(IMAGE).filter(|&id| id != image) {
            return Err(of(format!("token {id}")));
        }
        if let Some(token) = vocabulary.id_to_token(image).filter(|token| token != IMAGE) {
            return Err(of(format!("it is {token:?}")));
        }
        Ok(Self {
            bos: by_name("<bos>")?,
            eos: by_name("<eos>")?,
            pad: by_name("<pad>")?,
            image,
            newline: single(vocabulary, NEWLINE)?,
        })
    }

    /// Whether an id is one that only the processor may put into a sequence.
    fn is_control(&self, id: u32) -> bool {
        [self.bos, self.eos, self.pad, self.image].contains(&id)
    }
}

/// A checkpoint's tokenizer with the ids PaliGemma needs, resolved and checked once at load.
///
/// Cheap to clone, and used from any number of threads at once.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    vocabulary: Vocabulary,
    special: SpecialTokens,
    locations: Vec<u32>,
    segments: Vec<u32>,
    /// Spellings of control tokens, which in a user's text are but text.
    control: Vec<String>,
    size: usize,
}

impl Tokenizer {
    /// Loads a `tokenizer.json`.
    ///
    /// `image_token_index` is that of `config.json`: the token need not be in the vocabulary.
    ///
    /// # Errors
    /// Names the path in every case; otherwise those of [`Tokenizer::from_bytes`].
    pub fn from_file(path: &Path, image_token_index: u32) -> Result<Self, TokenizerError> {
        let json = std::fs::read(path)
            .map_err(|source| TokenizerError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&json, image_token_index).map_err(|source| TokenizerError::File {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Loads the contents of a `tokenizer.json`; see [`Tokenizer::from_file`].
    ///
    /// # Errors
    /// [`TokenizerError::Parse`], [`TokenizerError::MissingToken`] with the first token missing,
    /// and [`TokenizerError::ImageToken`] where the index belongs to another token.
    pub fn from_bytes(json: &[u8], image_token_index: u32) -> Result<Self, TokenizerError> {
        let parse = |error: tokenizers::Error| TokenizerError::Parse { reason: error.to_string() };
        let mut vocabulary = Vocabulary::from_bytes(json).map_err(parse)?;
        // A file saved while training may ask for these; a prompt is never cut or filled here.
        vocabulary.with_truncation(None).map_err(parse)?.with_padding(None);
        let special = SpecialTokens::resolve(&vocabulary, image_token_index)?;
        let numbered = |name: fn(usize) -> String, count| {
            (0..count).map(|index| single(&vocabulary, &name(index))).collect::<Result<Vec<_>, _>>()
        };
        let locations = numbered(|index| format!("<loc{index:04}>"), LOCATIONS)?;
        let segments = numbered(|index| format!("<seg{index:03}>"), SEGMENTS)?;
        let control = control_tokens(&vocabulary, &locations, &segments);
        let last = vocabulary.get_vocab(true).into_values().max().unwrap_or(0);
        let size = last.max(image_token_index) as usize + 1;
        let inner = Inner { vocabulary, special, locations, segments, control, size };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The ids of the tokens that a prompt and its answer are built with.
    pub fn special(&self) -> &SpecialTokens {
        &self.inner.special
    }

    /// The id of `<locNNNN>`.
    ///
    /// # Panics
    /// Where `index` is not below [`LOCATIONS`].
    pub fn loc(&self, index: usize) -> u32 {
        self.inner.locations[index]
    }

    /// The id of `<segNNN>`.
    ///
    /// # Panics
    /// Where `index` is not below [`SEGMENTS`].
    pub fn seg(&self, index: usize) -> u32 {
        self.inner.segments[index]
    }

    /// One more than the largest id, that of the image token included: the rows a model's
    /// embedding must have at least (published checkpoints have some unused ones more).
    pub fn vocab_size(&self) -> usize {
        self.inner.size
    }

    /// Builds a prompt: `tokens_per_image` image tokens for each of `images` pictures, `<bos>`,
    /// the prefix, a newline.
    ///
    /// Prefix and newline are encoded apart, as `big_vision` trains the model; the transformers
    /// processor encodes them as one string, which differs for prefixes that end in white space.
    /// `<locNNNN>` and `<segNNN>` in a prefix are tokens; control tokens spelled out in it
    /// (`<image>`, `<bos>`, ...) are plain text.
    ///
    /// # Errors
    /// [`TokenizerError::EmptyPrompt`] for a prefix of nothing but white space, and those of
    /// [`Tokenizer::encode_suffix`].
    pub fn encode_prompt(
        &self,
        prefix: &str,
        images: usize,
        tokens_per_image: usize,
    ) -> Result<Vec<u32>, TokenizerError> {
        if prefix.trim().is_empty() {
            return Err(TokenizerError::EmptyPrompt);
        }
        let SpecialTokens { bos, image, newline, .. } = self.inner.special;
        let mut ids = vec![image; images * tokens_per_image];
        ids.push(bos);
        ids.extend(self.encode(prefix)?);
        ids.push(newline);
        Ok(ids)
    }

    /// Encodes an answer, or the beginning of one, to follow a prompt: without `<eos>`, which
    /// belongs behind a whole answer only. Control tokens are plain text here too.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where the tokenizer fails, and [`TokenizerError::ControlToken`]
    /// where it normalizes another spelling to a control token, which Gemma's does not.
    pub fn encode_suffix(&self, suffix: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode(suffix)
    }

    /// The text of `ids`, without `<bos>`, `<eos>`, `<pad>`, `<image>` and ids that are in no
    /// vocabulary; `<locNNNN>` and `<segNNN>` stay visible.
    pub fn decode(&self, ids: &[u32]) -> String {
        let ids: Vec<u32> = ids.iter().copied().filter(|&id| self.is_visible(id)).collect();
        // Decoders only rewrite strings: an error would be a bug in one, not a fault of the ids.
        self.inner.vocabulary.decode(&ids, false).unwrap_or_default()
    }

    /// A stream that turns ids into text as they come.
    pub fn stream(&self) -> TextStream {
        TextStream::new(self.clone())
    }

    /// Whether an id has text to show.
    pub(crate) fn is_visible(&self, id: u32) -> bool {
        !self.inner.special.is_control(id) && self.inner.vocabulary.id_to_token(id).is_some()
    }

    /// Encodes text of a user, in which no control token can hide.
    fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        for piece in split_inside(text, &self.inner.control) {
            ids.extend(encode_raw(&self.inner.vocabulary, piece)?);
        }
        match ids.iter().find(|&&id| self.inner.special.is_control(id)) {
            None => Ok(ids),
            Some(&id) => Err(TokenizerError::ControlToken {
                token: self.inner.vocabulary.id_to_token(id).unwrap_or_default(),
            }),
        }
    }
}

impl fmt::Debug for Tokenizer {
    /// The ids only: the vocabulary has hundreds of thousands of entries.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("special", &self.inner.special)
            .field("vocab_size", &self.inner.size)
            .finish_non_exhaustive()
    }
}

/// Encodes a text as it is, without what the file's post-processor would put around it.
fn encode_raw(vocabulary: &Vocabulary, text: &str) -> Result<Vec<u32>, TokenizerError> {
    match vocabulary.encode_fast(text, false) {
        Ok(encoding) => Ok(encoding.get_ids().to_vec()),
        Err(error) => Err(TokenizerError::Encode { reason: error.to_string() }),
    }
}

/// The id of a token whose text must become just that token: being in the vocabulary is not
/// enough, some files have it there and yet split its text into characters.
fn single(vocabulary: &Vocabulary, token: &str) -> Result<u32, TokenizerError> {
    match encode_raw(vocabulary, token)?[..] {
        [id] if vocabulary.token_to_id(token) == Some(id) => Ok(id),
        _ => Err(TokenizerError::MissingToken { token: token.to_owned() }),
    }
}

/// Spellings that must not become tokens in a user's text: the file's special tokens and those
/// the prompt is built with, less locations and segments, which a user may write.
fn control_tokens(vocabulary: &Vocabulary, locations: &[u32], segments: &[u32]) -> Vec<String> {
    let added = vocabulary.get_added_tokens_decoder();
    let special = added
        .into_iter()
        .filter(|(id, token)| token.special && !locations.contains(id) && !segments.contains(id));
    let mut control: Vec<String> = special.map(|(_, token)| token.content).collect();
    control.extend(["<bos>", "<eos>", "<pad>", "<unk>", IMAGE].map(str::to_owned));
    control.sort_unstable();
    control.dedup();
    control
}

/// Cuts a text behind the first character of every spelling in `control`, so that no piece holds
/// one whole.
fn split_inside<'a>(text: &'a str, control: &[String]) -> Vec<&'a str> {
    let mut cuts: Vec<usize> = control
        .iter()
        .flat_map(|token| {
            let first = token.chars().next().map_or(0, char::len_utf8);
            text.match_indices(token).map(move |(at, _)| at + first)
        })
        .collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).filter(|piece| !piece.is_empty()).collect()
}
