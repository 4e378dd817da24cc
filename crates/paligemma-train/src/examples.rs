//! Examples as a model reads them: every batch a function of the run's seed and its own number.

use std::collections::HashMap;
use std::path::PathBuf;

use burn::tensor::{Tensor, TensorData};
use paligemma_data::{Example, Use};
use paligemma_nn::NnBackend;
use paligemma_processor::{PictureError, Tokenizer, TokenizerError, open_picture, preprocess};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{Batch, Peers, Row, Rows, Settings};

/// Why examples cannot be trained on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExamplesError {
    /// There are none.
    #[error("{data} has no examples")]
    None {
        /// The file.
        data: PathBuf,
    },
    /// A text that the tokenizer refuses.
    #[error("example {number} of {data}: {source}")]
    Text {
        /// The file.
        data: PathBuf,
        /// Which example, from 1.
        number: usize,
        /// What is wrong.
        source: TokenizerError,
    },
    /// More text than the run or the model takes.
    #[error(
        "example {number} of {data} has {tokens} text tokens, more than {most}: shorten it, or raise \
         --text-length as far as the model's positions reach"
    )]
    Long {
        /// The file.
        data: PathBuf,
        /// Which example, from 1.
        number: usize,
        /// Its prompt, its longest answer and `<eos>`.
        tokens: usize,
        /// How many there may be.
        most: usize,
    },
    /// A picture that cannot be read any more.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

/// Examples and what turns them into numbers.
#[derive(Debug)]
pub struct Examples {
    examples: Vec<Example>,
    tokenizer: Tokenizer,
    /// Pixels along a side.
    side: usize,
    settings: Settings,
    /// The most pictures and the most text tokens of an example.
    largest: (usize, usize),
}

/// A batch that is on no device yet.
#[derive(Debug)]
pub struct HostBatch {
    pixels: Vec<f32>,
    pictures: usize,
    side: usize,
    rows: Rows,
    pad: u32,
}

impl HostBatch {
    /// A batch of `pictures` square pictures, `side` pixels along a side, and the rows about them.
    ///
    /// # Shapes
    /// - `pixels`: `[I, 3, H, W]` in -1..1
    pub fn new(pixels: Vec<f32>, pictures: usize, side: usize, rows: Rows, pad: u32) -> Self {
        Self { pixels, pictures, side, rows, pad }
    }

    /// The batch on a device.
    pub fn on<B: NnBackend>(self, device: &B::Device) -> Batch<B> {
        let shape = [self.pictures, 3, self.side, self.side];
        let pixels = Tensor::from_data(TensorData::new(self.pixels, shape), device);
        Batch { pixels, rows: self.rows, pad: self.pad }
    }

    /// How many examples it has.
    pub fn examples(&self) -> usize {
        self.rows.rows().len()
    }

    /// How many answer tokens it has.
    pub fn tokens(&self) -> usize {
        self.rows.rows().iter().map(|row| row.suffix.len()).sum()
    }
}

impl Examples {
    /// Examples for a model of these positions, all of whose texts are tokenised once to see that
    /// they can be trained on.
    ///
    /// # Errors
    /// If there are none, or a text is refused or too long.
    pub fn new(
        examples: Vec<Example>,
        tokenizer: Tokenizer,
        side: usize,
        positions: impl Fn(usize) -> usize,
        settings: Settings,
    ) -> Result<Self, ExamplesError> {
        if examples.is_empty() {
            return Err(ExamplesError::None { data: settings.data });
        }
        let mut all = Self { examples, tokenizer, side, settings, largest: (0, 0) };
        let (mut pictures, mut longest) = all.largest;
        for (index, example) in all.examples.iter().enumerate() {
            let (data, number) = (all.settings.data.clone(), index + 1);
            let tokens = match all.text_tokens(example) {
                Ok(tokens) => tokens,
                Err(source) => return Err(ExamplesError::Text { data, number, source }),
            };
            let room = positions(example.images.len());
            let most = all.settings.text_length.map_or(room, |most| most.min(room));
            if tokens > most {
                return Err(ExamplesError::Long { data, number, tokens, most });
            }
            (pictures, longest) = (pictures.max(example.images.len()), longest.max(tokens));
        }
        all.largest = (pictures, longest);
        Ok(all)
    }

    /// Text tokens of the prompt with the longest answer.
    fn text_tokens(&self, example: &Example) -> Result<usize, TokenizerError> {
        let prompt = self.tokenizer.encode_prompt(&example.prefix, 0, 0)?.len();
        let mut longest = self.tokenizer.encode_suffix(&example.suffix)?.len();
        for answer in &example.references {
            longest = longest.max(self.tokenizer.encode_suffix(answer)?.len());
        }
        Ok(prompt + longest + 1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Tells these examples from others, in hexadecimal digits: a SHA-256 of all texts and of how many
    /// pictures each has, wherever the pictures are.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for Example { images, prefix, suffix, references } in &self.examples {
            hash.update(format!("{} {prefix:?} {suffix:?} {references:?}\n", images.len()));
        }
        format!("{:x}", hash.finalize())
    }

    /// The most pictures and the most text tokens of an example.
    pub(crate) fn largest(&self) -> (usize, usize) {
        self.largest
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// The examples of a step, in the parts that pass the model one by one.
    ///
    /// The run is one sequence of examples: all of them in the shuffled order of the first epoch,
    /// then in that of the second, and so on; step `n` has the `n`th `batch_size` of them. Several
    /// workers take them in turn; a last step may leave nothing to some.
    ///
    /// # Errors
    /// If a picture cannot be read any more.
    pub fn step(&self, step: usize, peers: &Peers) -> Result<Vec<HostBatch>, ExamplesError> {
        let Settings { batch_size, epochs, accumulate, .. } = self.settings;
        let first = step * batch_size;
        let last = (first + batch_size).min(epochs * self.len());
        let uses = self.uses(first, last).into_iter();
        let uses: Vec<Use> = uses.skip(peers.rank()).step_by(peers.count()).collect();
        let part = uses.len().div_ceil(accumulate.max(1)).max(1);
        uses.chunks(part).map(|uses| self.batch(uses)).collect()
    }

    /// All examples in order, as they are given, in parts of `size`, to measure a loss.
    ///
    /// # Errors
    /// If a picture cannot be read any more.
    pub fn in_order(&self, size: usize) -> impl Iterator<Item = Result<HostBatch, ExamplesError>> {
        let uses = (0..self.len() as u64).map(|index| Use { seed: 0, epoch: 0, index });
        let uses: Vec<Use> = uses.collect();
        let parts: Vec<Vec<Use>> = uses.chunks(size.max(1)).map(<[Use]>::to_vec).collect();
        parts.into_iter().map(|part| self.batch(&part))
    }

    fn uses(&self, first: usize, last: usize) -> Vec<Use> {
        let seed = self.settings.seed;
        let mut orders: HashMap<usize, Vec<u64>> = HashMap::new();
        let used = |place: usize| {
            let epoch = place / self.len();
            let order = orders.entry(epoch).or_insert_with(|| self.order(epoch));
            Use { seed, epoch: epoch as u64, index: order[place % self.len()] }
        };
        (first..last).map(used).collect()
    }

    /// The order of an epoch.
    fn order(&self, epoch: usize) -> Vec<u64> {
        let mut random = ChaCha8Rng::seed_from_u64(self.settings.seed);
        random.set_stream(epoch as u64);
        let mut order: Vec<u64> = (0..self.len() as u64).collect();
        order.shuffle(&mut random);
        order
    }

    fn batch(&self, uses: &[Use]) -> Result<HostBatch, ExamplesError> {
        let prepared: Vec<(Vec<Vec<f32>>, Row)> =
            uses.par_iter().map(|&at| self.prepare(at)).collect::<Result<_, _>>()?;
        let (mut pixels, mut pictures, mut rows) = (Vec::new(), 0, Vec::new());
        for (seen, row) in prepared {
            let numbers = (pictures..pictures + seen.len()).collect();
            pictures += seen.len();
            pixels.extend(seen.into_iter().flatten());
            rows.push(Row { pictures: numbers, ..row });
        }
        let pad = self.tokenizer.special().pad;
        Ok(HostBatch::new(pixels, pictures, self.side, Rows::new(rows), pad))
    }

    /// The pixels of an example's pictures, and its texts.
    fn prepare(&self, at: Use) -> Result<(Vec<Vec<f32>>, Row), ExamplesError> {
        let example = &self.examples[at.index as usize];
        let pictures: Vec<_> =
            example.images.iter().map(|path| open_picture(path)).collect::<Result<_, _>>()?;
        let suffix = self.settings.target.of(example, at);
        let (pictures, suffix) = self.settings.augmentation.apply(pictures, suffix, at);
        let text = |source| {
            let (data, number) = (self.settings.data.clone(), at.index as usize + 1);
            ExamplesError::Text { data, number, source }
        };
        let prefix = self.tokenizer.encode_prompt(&example.prefix, 0, 0).map_err(text)?;
        let mut suffix = self.tokenizer.encode_suffix(&suffix).map_err(text)?;
        suffix.push(self.tokenizer.special().eos);
        let pixels = pictures.iter().map(|picture| preprocess(picture, self.side)).collect();
        Ok((pixels, Row { pictures: Vec::new(), prefix, suffix }))
    }
}
