//! A model with its tokenizer on a device: pictures and prompts in, answers out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::FloatDType;
use paligemma_checkpoint::{AdapterFile, Checkpoint, LoadReport, PaliGemmaConfig, Progress};
use paligemma_nn::NnBackend;
use paligemma_processor::image::RgbImage;
use paligemma_processor::{Tokenizer, preprocess};

use crate::device::DeviceWork;
use crate::engine::{Engine, HostPrompt, OnDevice, Reply};
use crate::generation::{Generation, Start};
use crate::masks::MaskModel;
use crate::needs::Fitting;
use crate::{
    Answer, DeviceSpec, Dtype, Error, Model, Options, Oversize, Place, Request, Scene, Storage,
    Stream, Usage,
};

/// A PaliGemma that answers, on a device chosen at run time.
///
/// It holds no state of any request: share it between threads as it is.
pub struct PaliGemma {
    pub(crate) engine: Box<dyn Engine>,
    config: PaliGemmaConfig,
    tokenizer: Tokenizer,
    device: DeviceSpec,
    report: LoadReport,
    pub(crate) masks: Option<MaskModel>,
    fingerprint: String,
    oversize: Option<Oversize>,
}

impl std::fmt::Debug for PaliGemma {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaliGemma")
            .field("config", &self.config)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// The folder of a model that is no folder: of the hub, where this build knows it.
#[cfg(feature = "hub")]
fn fetch(name: &str, revision: Option<&str>) -> Result<PathBuf, Error> {
    Ok(paligemma_checkpoint::hub::resolve(name, revision, |_| ())?)
}

#[cfg(not(feature = "hub"))]
fn fetch(name: &str, _: Option<&str>) -> Result<PathBuf, Error> {
    Err(Error::NotAFolder { path: name.into() })
}

/// Opens a checkpoint on the backend that was chosen.
struct Open<'a> {
    checkpoint: &'a Checkpoint,
    adapter: Option<&'a AdapterFile>,
    config: &'a PaliGemmaConfig,
    device: DeviceSpec,
    dtype: Dtype,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl DeviceWork for Open<'_> {
    type Output = Result<(Box<dyn Engine>, LoadReport, Option<Oversize>), Error>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        let Self { checkpoint, adapter, config, device: spec, dtype, progress } = self;
        let computes = |dtype: FloatDType| B::supports_dtype(&device, dtype.into());
        let storage = dtype.storage(spec, checkpoint, computes)?;
        let fitting = Fitting { config, checkpoint, storage, device: spec };
        let oversize = fitting.check::<B>(&device)?;
        let (model, report) = Model::<B>::load(config, checkpoint, storage, &device, progress)?;
        let model = match adapter {
            Some(adapter) => model.adapted(adapter)?,
            None => model,
        };
        Ok((Box::new(OnDevice { model, device, storage }), report, oversize))
    }
}

impl PaliGemma {
    /// Opens the model in `folder`: a checkpoint (`config.json`, `tokenizer.json` and safetensors),
    /// an adapter of PEFT with its base, or the newest of a run ([`Place::locate`]).
    ///
    /// # Errors
    /// If a file is missing or wrong, the device cannot be used, does not compute in `dtype`, or has
    /// no memory for it.
    pub fn open(folder: &Path, device: DeviceSpec, dtype: Dtype) -> Result<Self, Error> {
        Self::open_with(folder, device, dtype, |_| ())
    }

    /// [`PaliGemma::open`], telling `progress` of every tensor that is packed: a large model takes
    /// a while.
    ///
    /// # Errors
    /// As [`PaliGemma::open`].
    pub fn open_with(
        folder: &Path,
        device: DeviceSpec,
        dtype: Dtype,
        progress: impl FnMut(Progress<'_>),
    ) -> Result<Self, Error> {
        if !folder.is_dir() {
            return Err(Error::NotAFolder { path: folder.to_owned() });
        }
        let place = Place::in_folder(folder.to_owned(), None, &mut fetch)?;
        Self::open_place(&place, device, dtype, progress)
    }

    /// Opens a model that was found; `progress` is told of every tensor that is packed.
    ///
    /// # Errors
    /// As [`PaliGemma::open`].
    pub fn open_place(
        place: &Place,
        device: DeviceSpec,
        dtype: Dtype,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<Self, Error> {
        let config = place.config()?;
        let tokenizer = place.tokenizer(&config)?;
        let checkpoint = place.checkpoint()?;
        Self::check_tokenizer(&config, &tokenizer)?;
        let (adapter, fingerprint) = (place.adapter(), place.fingerprint(&checkpoint));
        let device = device.resolve()?;
        let (checkpoint, config_of, progress) = (&checkpoint, &config, &mut progress);
        let open = Open { checkpoint, adapter, config: config_of, device, dtype, progress };
        let (engine, report, oversize) = device.run(open)??;
        let masks = None;
        let model =
            Self { engine, config, tokenizer, device, report, masks, fingerprint, oversize };
        model.with_masks_of(place)
    }

    /// A model that is there already, such as one in training, with the tokenizer and the masks of
    /// the place that it comes from. It is none that a file could hold: its fingerprint is empty.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn around<B: NnBackend>(
        model: Model<B>,
        place: &Place,
        storage: Storage,
        spec: DeviceSpec,
        device: B::Device,
    ) -> Result<Self, Error> {
        let config = place.config()?;
        let tokenizer = place.tokenizer(&config)?;
        let (report, masks, fingerprint) = (LoadReport::default(), None, String::new());
        let engine = Box::new(OnDevice { model, device, storage });
        let (device, oversize) = (spec, None);
        let model =
            Self { engine, config, tokenizer, device, report, masks, fingerprint, oversize };
        model.with_masks_of(place)
    }

    fn with_masks_of(self, place: &Place) -> Result<Self, Error> {
        match place {
            Place::Embedded => self.with_embedded_masks(),
            Place::Folder(folder) => self.with_masks_in(folder),
            Place::Adapted { base, .. } => self.with_masks_of(base),
            Place::Resized { of, .. } => self.with_masks_of(of),
        }
    }

    /// Opens a folder, or a model of the hub by its id (see [`paligemma_checkpoint::hub`]).
    ///
    /// # Errors
    /// As [`PaliGemma::open`], and if the model is neither there nor can be fetched.
    #[cfg(feature = "hub")]
    pub fn load(model: &str, device: DeviceSpec, dtype: Dtype) -> Result<Self, Error> {
        Self::open_place(&Place::locate(model, None, None, &mut fetch)?, device, dtype, |_| ())
    }

    /// The model embedded in this crate (docs/pocket.md).
    ///
    /// # Errors
    /// If the device cannot be used or does not compute in `dtype`.
    pub fn pocket(device: DeviceSpec, dtype: Dtype) -> Result<Self, Error> {
        Self::open_place(&Place::Embedded, device, dtype, |_| ())
    }

    /// Refuses a tokenizer that is not of the configuration's checkpoint: transformers ends an
    /// answer at the configuration's token, training writes the tokenizer's `<eos>`.
    ///
    /// # Errors
    /// If it has more tokens than the model, or another token ends an answer.
    pub fn check_tokenizer(config: &PaliGemmaConfig, tokenizer: &Tokenizer) -> Result<(), Error> {
        // Pictures take the place of the image token, which needs no row if it is the last.
        let image = config.image_token_index as usize;
        let tokens = tokenizer.vocab_size();
        let tokens = if image + 1 == tokens { image } else { tokens };
        let rows = config.text.vocab_size;
        if tokens > rows {
            return Err(Error::Vocabulary { tokens, rows });
        }
        let (config, tokenizer) = (config.eos_token_id, tokenizer.special().eos);
        if config == tokenizer { Ok(()) } else { Err(Error::EndToken { config, tokenizer }) }
    }

    /// The same model with another engine around its own.
    #[cfg(test)]
    pub(crate) fn with_engine(
        self,
        around: impl FnOnce(Box<dyn Engine>) -> Box<dyn Engine>,
    ) -> Self {
        Self { engine: around(self.engine), ..self }
    }

    /// The model's sizes.
    pub fn config(&self) -> &PaliGemmaConfig {
        &self.config
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The device it runs on.
    pub fn device(&self) -> DeviceSpec {
        self.device
    }

    /// The format it is held in.
    pub fn dtype(&self) -> Dtype {
        self.engine.dtype()
    }

    /// What was loaded.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// That the model is larger than the memory there was when it was opened, and works because its
    /// file is mapped.
    pub fn oversize(&self) -> Option<&Oversize> {
        self.oversize.as_ref()
    }

    /// What tells this model from others, whatever device and format it is held in
    /// ([`Checkpoint::fingerprint`]).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Encodes pictures, which stand before the prompt in this order.
    ///
    /// Features can serve any number of prompts. What the decoder makes of them cannot: its
    /// picture tokens attend to the prompt.
    pub fn encode(&self, pictures: &[RgbImage]) -> Scene {
        let size = self.config.vision.image_size;
        let pixels = pictures.iter().flat_map(|picture| preprocess(picture, size)).collect();
        let features = if pictures.is_empty() {
            let options = burn::tensor::DType::F32;
            burn::tensor::TensorData::full_dtype([1, 0, self.config.projection_dim], 0.0, options)
        } else {
            self.engine.encode(pixels, pictures.len(), size)
        };
        let sizes = pictures.iter().map(RgbImage::dimensions).collect();
        Scene { features: Arc::new(features), sizes }
    }

    /// The answer to one request.
    ///
    /// # Errors
    /// If the prompt is empty or too long, an option is out of range, or the model's numbers are
    /// not finite.
    pub fn generate(&self, request: &Request) -> Result<Answer, Error> {
        if request.options.num_beams > 1 {
            return Ok(self.answers(request, 1)?.swap_remove(0));
        }
        self.stream(request)?.finish()
    }

    /// The answer to one request as it is made.
    ///
    /// # Errors
    /// If the prompt is empty or too long, or an option is out of range; and if there is more than one
    /// beam, none of which is the answer before all are done.
    pub fn stream(&self, request: &Request) -> Result<Stream<'_>, Error> {
        if request.options.num_beams > 1 {
            return Err(request.options.beams("1 where text is shown as it is made"));
        }
        let generation = self.start(std::slice::from_ref(request))?;
        Ok(Stream { generation, failed: false })
    }

    /// The answers to several requests, decoded together; each is what it would be alone. Beam
    /// searches are done one after another.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`]; and if there are no requests.
    pub fn batch(&self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        if requests.iter().any(|request| request.options.num_beams > 1) {
            return requests.iter().map(|request| self.generate(request)).collect();
        }
        let mut generation = self.start(requests)?;
        while !generation.finished() {
            generation.step(|_, _| ())?;
        }
        Ok(generation.answers())
    }

    fn start(&self, requests: &[Request]) -> Result<Generation<'_>, Error> {
        let (reply, starts) = self.prefill(requests)?;
        Ok(self.generation(reply, starts))
    }

    /// A batch whose prompts have been read.
    pub(crate) fn generation<'m>(
        &'m self,
        reply: Box<dyn Reply + 'm>,
        starts: Vec<Start>,
    ) -> Generation<'m> {
        Generation::new(reply, starts, &self.tokenizer, self.engine.dtype())
    }

    /// Reads the prompts of requests.
    pub(crate) fn prefill(
        &self,
        requests: &[Request],
    ) -> Result<(Box<dyn Reply + '_>, Vec<Start>), Error> {
        if requests.is_empty() {
            return Err(Error::Nothing { what: "request" });
        }
        let mut texts = Vec::new();
        let mut starts = Vec::new();
        for Request { scene, prompt, options, constraint } in requests {
            options.check()?;
            let text = self.tokenizer.encode_prompt(prompt, 0, 0)?;
            let (usage, room) = self.room(scene, &text)?;
            texts.push(text);
            let room = room.min(options.max_new_tokens);
            let constraint = constraint.clone();
            starts.push(Start { options: *options, constraint, usage, room });
        }
        let room = starts.iter().map(|start| start.room).max().unwrap_or(0);
        let prompts = requests.iter().zip(&texts);
        let prompts: Vec<HostPrompt<'_>> = prompts
            .map(|(request, text)| HostPrompt { features: &request.scene.features, text })
            .collect();
        Ok((self.engine.prefill(&prompts, room), starts))
    }

    /// Refuses a prompt that will not fit the model with so many pictures, before they are encoded.
    ///
    /// # Errors
    /// If it is empty or too long.
    pub fn check_room(&self, prompt: &str, pictures: usize) -> Result<(), Error> {
        let text = self.tokenizer.encode_prompt(prompt, 0, 0)?;
        self.room_after(pictures * self.config.vision.num_patches(), &text).map(drop)
    }

    /// What a prompt costs, and how many tokens fit after it.
    pub(crate) fn room(&self, scene: &Scene, text: &[u32]) -> Result<(Usage, usize), Error> {
        self.room_after(scene.features.shape[1], text)
    }

    fn room_after(&self, image_tokens: usize, text: &[u32]) -> Result<(Usage, usize), Error> {
        let prompt_tokens = image_tokens + text.len();
        let limit = self.config.text.max_position_embeddings;
        if prompt_tokens >= limit {
            return Err(Error::PromptTooLong { tokens: prompt_tokens, limit });
        }
        let usage = Usage { prompt_tokens, image_tokens, completion_tokens: 0 };
        Ok((usage, limit - prompt_tokens))
    }

    /// The answer to a raw `prompt` about one picture, with the default options.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`].
    pub fn answer(&self, picture: &RgbImage, prompt: &str) -> Result<Answer, Error> {
        let scene = self.encode(std::slice::from_ref(picture));
        let (prompt, options) = (prompt.to_owned(), Options::default());
        self.generate(&Request { scene, prompt, options, constraint: None })
    }
}
