//! The memory that a run takes, told from its sizes before anything is loaded.

use burn::tensor::{DType, FloatDType};
use paligemma::{DeviceSpec, Dtype, Model, Needs, Size, Storage, available_memory};
use paligemma_checkpoint::{Checkpoint, Held, PaliGemmaConfig, held_parameters};
use paligemma_nn::NnBackend;

use crate::backward::LOGITS;
use crate::groups::published;
use crate::{FinetuneError, LoraSettings, Selection, Settings};

/// Bytes of an f32.
const F32: u64 = 4;

/// Bytes that a run takes in the memory of its device.
///
/// An estimate: parameters, gradients and moments are exact, activations are those that the layers
/// keep for the way back. Measured peaks are in docs/transfer.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainingNeeds {
    /// The model as it is held, new adapters not included.
    pub weights: u64,
    /// Those of its weights that lie in a mapped file and stay as they are.
    pub mapped: u64,
    /// New adapters, and what is trained in the type of activations where that is not f32.
    pub copies: u64,
    /// A gradient of everything that is trained.
    pub gradients: u64,
    /// Two moments of everything that is trained.
    pub moments: u64,
    /// What layers keep for the way back, and the logits of some answer tokens.
    pub activations: u64,
    /// The program itself.
    pub program: u64,
}

impl TrainingNeeds {
    /// Everything together.
    pub fn total(&self) -> u64 {
        let Self { weights, copies, gradients, moments, activations, program, .. } = *self;
        weights + copies + gradients + moments + activations + program
    }

    /// What has to be in memory at any time.
    pub fn resident(&self) -> u64 {
        self.total() - self.mapped
    }
}

/// A run that is to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) config: &'a PaliGemmaConfig,
    pub(crate) checkpoint: &'a Checkpoint,
    /// As it was asked for; what is trained itself is f32.
    pub(crate) storage: Storage,
    pub(crate) device: DeviceSpec,
    /// The most pictures of an example.
    pub(crate) pictures: usize,
    /// The most text tokens of an example.
    pub(crate) text: usize,
}

impl Plan<'_> {
    /// What the run takes, if this machine has memory for it. Nothing is known of the memory of
    /// GPUs.
    ///
    /// # Errors
    /// If it has not, or what is trained cannot be selected.
    pub(crate) fn check<B: NnBackend>(
        &self,
        device: &B::Device,
    ) -> Result<TrainingNeeds, FinetuneError> {
        let available = match self.device {
            DeviceSpec::Flex | DeviceSpec::NdArray => available_memory(),
            _ => None,
        };
        self.check_within::<B>(available.unwrap_or(u64::MAX), device)
    }

    fn check_within<B: NnBackend>(
        &self,
        available: u64,
        device: &B::Device,
    ) -> Result<TrainingNeeds, FinetuneError> {
        let needs = self.needs::<B>(device)?;
        if needs.resident() <= available {
            return Ok(needs);
        }
        Err(FinetuneError::Memory {
            needed: Size(needs.resident()),
            available: Size(available),
            way: self.way::<B>(available, device)?,
        })
    }

    /// The smallest change with which the run fits.
    fn way<B: NnBackend>(
        &self,
        available: u64,
        device: &B::Device,
    ) -> Result<String, FinetuneError> {
        let recomputed = Settings { recompute: true, ..self.settings.clone() };
        let parts = self.settings.batch_size;
        let one = Settings { accumulate: parts, ..recomputed.clone() };
        let lora = LoraSettings { rank: 8, alpha: 16.0, dropout: 0.0 };
        let lora = Settings { lora: Some(self.settings.lora.unwrap_or(lora)), ..one.clone() };
        let lora = match self.settings.lora {
            Some(_) => lora,
            None => Settings { train: None, ..lora },
        };
        let in_parts = match parts {
            1 => "--recompute".to_owned(),
            parts => format!("--recompute --accumulate {parts}"),
        };
        let named = |dtype| {
            let adapters = if self.settings.lora.is_some() { "" } else { "--lora 8 " };
            format!("{adapters}--dtype {dtype} {in_parts}")
        };
        let tries = [
            ("--recompute".to_owned(), recomputed, self.storage),
            (in_parts.clone(), one, self.storage),
        ];
        let packed = [Dtype::Int8, Dtype::Int4].into_iter().filter_map(|dtype| {
            let storage = dtype.on(self.device)?;
            Some((named(dtype), lora.clone(), storage))
        });
        for (words, settings, storage) in tries.into_iter().chain(packed) {
            let plan = Plan { settings: &settings, storage, ..*self };
            let needs = plan.needs::<B>(device)?;
            if needs.resident() <= available {
                return Ok(format!("use `{words}`, which takes {}", Size(needs.total())));
            }
        }
        Ok("use a smaller model, or a machine with more".to_owned())
    }

    /// What the run takes.
    fn needs<B: NnBackend>(&self, device: &B::Device) -> Result<TrainingNeeds, FinetuneError> {
        let storage = self.settings.held(self.storage);
        let file = (self.device == DeviceSpec::Flex).then_some(self.checkpoint);
        let Needs { weights, mapped, program, .. } =
            Needs::of::<B>(self.config, storage, file, device);
        let trained = self.trained::<B>(device)?;
        let adapters = if self.settings.lora.is_some() { trained.numbers } else { 0 };
        let narrow = DType::from(activations(self.storage)).size() as u64;
        // Parameters that are trained are kept in f32 and computed with in a copy.
        let cast = if narrow < F32 && adapters == 0 { weights / F32 * narrow } else { 0 };
        Ok(TrainingNeeds {
            weights,
            // A step makes new ones of those that are trained.
            mapped: mapped.saturating_sub(F32 * (trained.numbers - adapters)),
            copies: F32 * adapters + cast,
            gradients: F32 * trained.numbers,
            moments: 2 * F32 * trained.numbers,
            activations: narrow * self.kept(&trained),
            program,
        })
    }

    /// Numbers that are kept for the way back.
    fn kept(&self, trained: &Trained) -> u64 {
        let PaliGemmaConfig { text, vision, .. } = self.config;
        let examples = self.settings.at_once();
        let (patches, pictures) = (vision.num_patches(), self.pictures.max(1));
        let tokens = examples * (pictures * patches + self.text);
        let patches = examples * pictures * patches;
        let heads = text.num_attention_heads * text.head_dim;
        let keys = text.num_key_value_heads * text.head_dim;
        let norms = if text.post_norms { 6 } else { 4 };
        // Gate, up and their product; the norms' inputs and outputs; queries, keys, values and what
        // attention gives.
        let decoder_layer =
            tokens * (3 * text.intermediate_size + norms * text.hidden_size + 2 * heads + 2 * keys);
        let tower_layer = patches * (2 * vision.intermediate_size + 8 * vision.hidden_size);
        let (tower, decoder) = (trained.tower_layers, trained.decoder_layers);
        let widest = if tower > 0 { decoder_layer.max(tower_layer) } else { decoder_layer };
        let layers = if self.settings.recompute {
            tower * patches * vision.hidden_size + decoder * tokens * text.hidden_size
        } else {
            tower * tower_layer + decoder * decoder_layer
        };
        // The layer that is on its way back, and three times the logits that there are at once.
        let logits = LOGITS.min(examples * self.text * text.vocab_size);
        (layers + widest + 3 * logits) as u64
    }

    /// What is trained, and how far the way back goes.
    fn trained<B: NnBackend>(&self, device: &B::Device) -> Result<Trained, FinetuneError> {
        let model = Model::<B>::new(&self.config.vision, &self.config.text, device);
        let trained: Vec<(String, usize)> = match self.settings.selection()? {
            Selection::Parameters(chosen) => {
                let held = held_parameters::<B, _>(model, None);
                let names: Vec<_> = held.iter().map(|held| published(&held.path)).collect();
                let fits = chosen.of(&names)?;
                let all = names.into_iter().zip(held.iter().map(Held::count)).zip(fits);
                all.filter_map(|(one, fits)| fits.then_some(one)).collect()
            }
            Selection::Lora(lora) => {
                let count = |[outputs, inputs]: [usize; 2]| lora.rank * (outputs + inputs);
                let targets = lora.targets(model)?.1.into_iter();
                targets.map(|target| (target.name, count(target.shape))).collect()
            }
        };
        let names = || trained.iter().map(|(name, _)| name);
        let text = self.config.text.num_hidden_layers;
        let tower = names().any(|name| name.starts_with("vision_tower."));
        // The way back goes from the last layer of the decoder to the first that is trained.
        let first = names().map(|name| decoder_layer(name).unwrap_or(0)).min();
        Ok(Trained {
            numbers: trained.iter().map(|(_, numbers)| *numbers as u64).sum(),
            tower_layers: if tower { self.config.vision.num_hidden_layers } else { 0 },
            decoder_layers: first.map_or(0, |first| text.saturating_sub(first)),
        })
    }
}

/// What is trained.
struct Trained {
    numbers: u64,
    tower_layers: usize,
    /// Layers of the decoder from the first that is trained on.
    decoder_layers: usize,
}

/// Which layer of the decoder a published name is in; none outside of them.
fn decoder_layer(name: &str) -> Option<usize> {
    let (_, rest) = name.strip_prefix("language_model.")?.split_once("layers.")?;
    rest.split('.').next()?.parse().ok()
}

/// What activations are computed in for a storage.
pub(crate) fn activations(storage: Storage) -> FloatDType {
    match storage {
        Storage::Dense(dtype) => dtype,
        Storage::Packed(_) => FloatDType::F32,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn_flex::{Flex, FlexDevice};
    use paligemma::{PackedFormat, pocket};

    use super::*;

    fn plan<'a>(
        settings: &'a Settings,
        config: &'a PaliGemmaConfig,
        checkpoint: &'a Checkpoint,
        storage: Storage,
    ) -> Plan<'a> {
        let device = DeviceSpec::Flex;
        Plan { settings, config, checkpoint, storage, device, pictures: 1, text: 10 }
    }

    fn settings() -> Settings {
        Settings { batch_size: 1, ..Settings::new("model".to_owned(), PathBuf::from("data")) }
    }

    fn adapters(rank: usize) -> Settings {
        let lora = Some(LoraSettings { rank, alpha: 16.0, dropout: 0.0 });
        Settings { lora, ..settings() }
    }

    /// Peaks of whole processes, adapters of rank 8 on the published 3B (docs/transfer.md), which
    /// the estimate has to meet to a twentieth.
    #[test]
    fn estimates_are_the_measured_peaks() {
        let config = PaliGemmaConfig::published_3b(224);
        let checkpoint = Checkpoint::from_static(pocket::WEIGHTS).unwrap();
        let settings = adapters(8);
        for (format, peak) in [(PackedFormat::Int8, 4.07), (PackedFormat::Bf16, 6.79)] {
            let plan = plan(&settings, &config, &checkpoint, Storage::Packed(format));
            let needs = plan.needs::<Flex>(&FlexDevice).unwrap();
            // 18 layers of seven matrices, each with factors of its inputs and of its outputs.
            let numbers = 8 * 18 * (2 * (2048 + 2048) + 2 * (2048 + 256) + 3 * (2048 + 16384));
            assert_eq!((needs.gradients, needs.moments), (4 * numbers, 8 * numbers));
            let estimate = needs.total() as f64 / f64::from(1 << 30);
            assert!((estimate / peak - 1.0).abs() < 0.05, "{format}: {estimate} for {peak}");
        }
    }

    #[test]
    fn what_is_trained_has_gradients_and_moments() {
        let config = PaliGemmaConfig::published_3b(224);
        let checkpoint = Checkpoint::from_static(pocket::WEIGHTS).unwrap();
        let f32 = Storage::Dense(FloatDType::F32);
        let needs = |settings: &Settings| {
            plan(settings, &config, &checkpoint, f32).needs::<Flex>(&FlexDevice).unwrap()
        };
        let all = 2_923_335_408 + 64 * 2048;
        let full = needs(&settings());
        assert_eq!((full.weights, full.gradients, full.moments), (4 * all, 4 * all, 8 * all));
        let named = |train: &str| needs(&Settings { train: Some(train.to_owned()), ..settings() });
        assert_eq!(named("projector").gradients, 4 * 2_361_344);
        assert!(named("frozen-vision").activations < full.activations);
        assert!(named("language_model.*.layers.17").activations < named("projector").activations);
        let again = needs(&Settings { recompute: true, ..settings() });
        assert!(again.activations < full.activations / 4);
    }

    #[test]
    fn a_run_that_does_not_fit_is_refused_with_a_way_out() {
        let config = PaliGemmaConfig::published_3b(224);
        let checkpoint = Checkpoint::from_static(pocket::WEIGHTS).unwrap();
        let f32 = Storage::Dense(FloatDType::F32);
        let refused = |settings: &Settings, storage, gibibytes: f64| {
            let available = (gibibytes * f64::from(1 << 30)) as u64;
            let plan = plan(settings, &config, &checkpoint, storage);
            plan.check_within::<Flex>(available, &FlexDevice).unwrap_err().to_string()
        };
        let batch = Settings { batch_size: 8, ..settings() };
        for (gibibytes, way) in [
            (48.0, "use `--recompute`"),
            (44.5, "use `--recompute --accumulate 8`"),
            (16.0, "use `--lora 8 --dtype int8 --recompute --accumulate 8`"),
            (2.5, "use `--lora 8 --dtype int4 --recompute --accumulate 8`"),
            (1.0, "use a smaller model"),
        ] {
            let said = refused(&batch, f32, gibibytes);
            assert!(said.contains(way), "{gibibytes}: {said}");
        }
        let int8 = Storage::Packed(PackedFormat::Int8);
        let said = refused(&adapters(8), int8, 2.5);
        assert!(said.contains("`--dtype int4 --recompute`"), "{said}");
    }
}
