//! `Retriever`: a ColPali with its tokenizer on a device.

use burn::tensor::{Tensor, TensorData};
use paligemma_checkpoint::{AdapterFile, Checkpoint, ColPaliConfig, Progress};
use paligemma_nn::NnBackend;
use paligemma_processor::image::RgbImage;
use paligemma_processor::{Tokenizer, preprocess};

use crate::colpali::{ColPali, MultiVector};
use crate::device::DeviceWork;
use crate::needs::Fitting;
use crate::{DeviceSpec, Dtype, Error, Oversize, PaliGemma, Place, Storage};

/// What stands after a page, and before a query (transformers `processing_colpali.py`).
const PAGE: &str = "Describe the image.";
const QUERY: &str = "Question: ";
/// `<pad>` tokens after a query, in which the model can say more of it.
const AUGMENTATION: usize = 10;

/// A ColPali that finds pages for queries, on a device chosen at run time.
pub struct Retriever {
    embedder: Box<dyn Embedder>,
    config: ColPaliConfig,
    tokenizer: Tokenizer,
    dtype: Dtype,
    oversize: Option<Oversize>,
}

impl std::fmt::Debug for Retriever {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retriever").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A [`ColPali`] in plain data.
trait Embedder: Send + Sync {
    /// Vectors of a picture, `[3, side, side]`, and a text.
    fn embed(&self, pixels: Option<Vec<f32>>, side: usize, text: &[u32]) -> Vec<f32>;
}

struct OnDevice<B: NnBackend> {
    model: ColPali<B>,
    device: B::Device,
    storage: Storage,
}

impl<B: NnBackend> Embedder for OnDevice<B> {
    fn embed(&self, pixels: Option<Vec<f32>>, side: usize, text: &[u32]) -> Vec<f32> {
        let options = (&self.device, self.storage.activations());
        let pixels = pixels
            .map(|pixels| Tensor::from_data(TensorData::new(pixels, [1, 3, side, side]), options));
        self.model.embed(pixels, text, &self.device).into_data().iter::<f32>().collect()
    }
}

struct Open<'a, P> {
    config: &'a ColPaliConfig,
    checkpoint: &'a Checkpoint,
    adapter: Option<&'a AdapterFile>,
    device: DeviceSpec,
    dtype: Dtype,
    progress: P,
}

impl<P: FnMut(Progress<'_>)> DeviceWork for Open<'_, P> {
    type Output = Result<(Box<dyn Embedder>, Dtype, Option<Oversize>), Error>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        let Self { config, checkpoint, adapter, device: spec, dtype, progress } = self;
        let computes = |dtype: burn::tensor::FloatDType| B::supports_dtype(&device, dtype.into());
        let storage = dtype.storage(spec, checkpoint, computes)?;
        let fitting = Fitting { config: &config.vlm, checkpoint, storage, device: spec };
        let oversize = fitting.check::<B>(&device)?;
        let model = ColPali::<B>::load(config, checkpoint, storage, &device, progress)?;
        let model = match adapter {
            Some(adapter) => adapter.merge(model)?,
            None => model,
        };
        Ok((Box::new(OnDevice { model, device, storage }), storage.into(), oversize))
    }
}

impl Retriever {
    /// Opens a ColPali that was found, with its adapter if it has one; `progress` is told of every
    /// tensor that is packed.
    ///
    /// # Errors
    /// If a file is missing or wrong, the model is no ColPali, or the device cannot be used or
    /// has no memory for it.
    pub fn open(
        place: &Place,
        device: DeviceSpec,
        dtype: Dtype,
        progress: impl FnMut(Progress<'_>),
    ) -> Result<Self, Error> {
        let config = place.colpali_config()?;
        let tokenizer = place.tokenizer(&config.vlm)?;
        PaliGemma::check_tokenizer(&config.vlm, &tokenizer)?;
        let (checkpoint, device) = (&place.checkpoint()?, device.resolve()?);
        let adapter = place.adapter();
        let open = Open { config: &config, checkpoint, adapter, device, dtype, progress };
        let (embedder, dtype, oversize) = device.run(open)??;
        Ok(Self { embedder, config, tokenizer, dtype, oversize })
    }

    /// That the model is larger than the memory there was when it was opened
    /// ([`PaliGemma::oversize`]).
    pub fn oversize(&self) -> Option<&Oversize> {
        self.oversize.as_ref()
    }

    /// The model's sizes.
    pub fn config(&self) -> &ColPaliConfig {
        &self.config
    }

    /// A page's vectors: one for each patch, and for each token of what is asked of every page.
    ///
    /// # Errors
    /// If the model's numbers are not finite.
    pub fn page(&self, picture: &RgbImage) -> Result<MultiVector, Error> {
        let side = self.config.vlm.vision.image_size;
        let text = self.tokenizer.encode_prompt(PAGE, 0, 0)?;
        self.vectors(self.embedder.embed(Some(preprocess(picture, side)), side, &text))
    }

    /// A query's vectors, one for each token.
    ///
    /// # Errors
    /// If the query is empty, or the model's numbers are not finite.
    pub fn query(&self, text: &str) -> Result<MultiVector, Error> {
        if text.trim().is_empty() {
            return Err(Error::Nothing { what: "query" });
        }
        let special = self.tokenizer.special();
        let mut ids = vec![special.bos];
        ids.extend(self.tokenizer.encode_suffix(&format!("{QUERY}{text}"))?);
        ids.extend([special.pad; AUGMENTATION]);
        ids.push(special.newline);
        let limit = self.config.vlm.text.max_position_embeddings;
        if ids.len() > limit {
            return Err(Error::PromptTooLong { tokens: ids.len(), limit });
        }
        self.vectors(self.embedder.embed(None, 0, &ids))
    }

    fn vectors(&self, values: Vec<f32>) -> Result<MultiVector, Error> {
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::NonFiniteFeatures { dtype: self.dtype });
        }
        Ok(MultiVector { width: self.config.embedding_dim, values })
    }
}
