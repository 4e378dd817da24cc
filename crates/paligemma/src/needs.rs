//! `Needs`: the memory that a model takes, told from its sizes before anything is loaded.

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::FloatDType;
use paligemma_checkpoint::{
    Checkpoint, Elements, Held, PaliGemmaConfig, TensorInfo, held_parameters,
};
use paligemma_nn::NnBackend;

use crate::memory::available_memory;
use crate::{DeviceError, DeviceSpec, DeviceWork, Dtype, Error, Model, Storage};

/// Tokens of text that an estimate reckons with, prompt and answer together.
const TEXT: usize = 128;
/// What the program takes beside a model: its code, the tokenizer, threads.
const PROGRAM: u64 = 64 << 20;

/// Bytes that a model takes in the memory of its device while it answers about one picture.
///
/// An estimate: weights and the cache are exact, activations are those of the widest layer, which
/// are there once. Measured peaks are in docs/benchmarks.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The weights as they are held.
    pub weights: u64,
    /// Those of them that lie in a mapped file: the system reads them as they are used, and may
    /// drop them for others.
    pub mapped: u64,
    /// Keys and values of the picture and 128 tokens of text.
    pub cache: u64,
    /// What a layer computes, and the logits of a token.
    pub activations: u64,
    /// The program itself.
    pub program: u64,
}

impl Needs {
    /// Everything together.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.activations + self.program
    }

    /// What has to be in memory at any time.
    pub fn resident(&self) -> u64 {
        self.total() - self.mapped
    }

    /// What a model of this configuration takes, held as `storage` says; weights that `checkpoint`
    /// has in that form stay in its file.
    pub fn of<B: NnBackend>(
        config: &PaliGemmaConfig,
        storage: Storage,
        checkpoint: Option<&Checkpoint>,
        device: &B::Device,
    ) -> Self {
        let held = held::<B>(config, storage, device);
        let weights = held.iter().map(|held| held.bytes(dense(storage)) as u64).sum();
        let in_file = checkpoint.map_or(0, |checkpoint| mapped(&held, storage, checkpoint));
        Self { weights, mapped: in_file, ..Self::around(config, storage) }
    }

    /// What a model takes beside its weights.
    fn around(config: &PaliGemmaConfig, storage: Storage) -> Self {
        let PaliGemmaConfig { text, vision, .. } = config;
        let patches = vision.num_patches();
        let tokens = patches + TEXT;
        let heads = text.num_attention_heads * text.head_dim;
        let keys = text.num_key_value_heads * text.head_dim;
        // In and out of a feed-forward block (its gate too, in the decoder), the residual stream
        // and its norm before and after, queries and what attention gives.
        let decoder = tokens * (2 * text.intermediate_size + 4 * text.hidden_size + 2 * heads);
        let tower = patches * (vision.intermediate_size + 8 * vision.hidden_size);
        let numbers = decoder.max(tower) + text.vocab_size;
        let cache = 2 * text.num_hidden_layers * tokens * keys;
        let size = storage.activations().size() as u64;
        Self {
            cache: cache as u64 * size,
            activations: numbers as u64 * size,
            program: PROGRAM,
            ..Self::default()
        }
    }
}

/// What a configuration's model takes in a dtype on the CPU device flex; of
/// [`Dtype::Auto`], in f32.
///
/// # Errors
/// If this build has no device.
pub fn needs(
    config: &PaliGemmaConfig,
    dtype: Dtype,
    checkpoint: Option<&Checkpoint>,
) -> Result<Needs, DeviceError> {
    let storage = dtype.on(DeviceSpec::Flex).unwrap_or(Storage::Dense(FloatDType::F32));
    // Any backend knows the shapes.
    DeviceSpec::Auto.run(Work { config, storage, checkpoint })
}

struct Work<'a> {
    config: &'a PaliGemmaConfig,
    storage: Storage,
    checkpoint: Option<&'a Checkpoint>,
}

impl DeviceWork for Work<'_> {
    type Output = Needs;

    fn run<B: NnBackend>(self, device: B::Device) -> Needs {
        Needs::of::<B>(self.config, self.storage, self.checkpoint, &device)
    }
}

/// The parameters of a model that is held so.
fn held<B: NnBackend>(config: &PaliGemmaConfig, storage: Storage, device: &B::Device) -> Vec<Held> {
    let model = Model::<B>::new(&config.vision, &config.text, device);
    let format = match storage {
        Storage::Packed(format) => Some(format),
        Storage::Dense(_) => None,
    };
    held_parameters::<B, _>(model, format)
}

/// The type of what is not packed.
fn dense(storage: Storage) -> FloatDType {
    match storage {
        Storage::Dense(dtype) => dtype,
        Storage::Packed(_) => FloatDType::F32,
    }
}

/// Bytes of the parameters that a checkpoint has as they are held.
fn mapped(held: &[Held], storage: Storage, checkpoint: &Checkpoint) -> u64 {
    let known = |tensor: TensorInfo| {
        let path = tensor.module_path?;
        // A ColPali has the whole of its PaliGemma in a field.
        let path = path.strip_prefix("vlm.").map(str::to_owned).unwrap_or(path);
        tensor.in_place.then_some((path, tensor.elements))
    };
    let found: BTreeMap<String, Elements> = checkpoint.tensors().filter_map(known).collect();
    let stays = |held: &&Held| {
        let wanted = match held.packed {
            Some(layout) => Elements::Packed(layout.format),
            None => Elements::Float(dense(storage)),
        };
        found.get(&held.path) == Some(&wanted)
    };
    held.iter().filter(stays).map(|held| held.bytes(dense(storage)) as u64).sum()
}

/// A number of bytes in GiB or MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(
    /// The bytes.
    pub u64,
);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = self.0 as f64 / f64::from(1 << 20);
        if mebibytes < 1000.0 {
            write!(f, "{mebibytes:.0} MiB")
        } else {
            write!(f, "{:.2} GiB", mebibytes / 1024.0)
        }
    }
}

/// A model in a mapped file that is larger than the memory there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversize {
    /// What the model takes.
    pub needs: Needs,
    /// What there is.
    pub available: u64,
}

impl fmt::Display for Oversize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the model takes {} of memory and {} are free: weights are read from its file again \
             as they are used, which is slow",
            Size(self.needs.total()),
            Size(self.available)
        )
    }
}

/// A model that is to be opened, and where.
pub(crate) struct Fitting<'a> {
    pub(crate) config: &'a PaliGemmaConfig,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) storage: Storage,
    pub(crate) device: DeviceSpec,
}

impl Fitting<'_> {
    /// Refuses a model that this machine has no memory for, before anything of it is loaded; what
    /// fits only because it is mapped is told. Nothing is known of the memory of GPUs.
    pub(crate) fn check<B: NnBackend>(
        &self,
        device: &B::Device,
    ) -> Result<Option<Oversize>, Error> {
        match (self.device, available_memory()) {
            (DeviceSpec::Flex | DeviceSpec::NdArray, Some(available)) => {
                self.check_within::<B>(available, device)
            }
            _ => Ok(None),
        }
    }

    fn check_within<B: NnBackend>(
        &self,
        available: u64,
        device: &B::Device,
    ) -> Result<Option<Oversize>, Error> {
        // burn-ndarray takes a copy of every weight.
        let file = (self.device == DeviceSpec::Flex).then_some(self.checkpoint);
        let needs = Needs::of::<B>(self.config, self.storage, file, device);
        if needs.resident() > available {
            return Err(Error::Memory {
                dtype: self.storage.into(),
                needed: Size(needs.resident()),
                available: Size(available),
                way: self.way::<B>(available, device),
            });
        }
        Ok((needs.total() > available).then_some(Oversize { needs, available }))
    }

    /// What would fit: the most precise way to hold the model, or a file that need not.
    fn way<B: NnBackend>(&self, available: u64, device: &B::Device) -> String {
        let on = if self.device == DeviceSpec::Flex { "" } else { "--device flex " };
        let smaller = [Dtype::Bf16, Dtype::Int8, Dtype::Int4].into_iter().find_map(|dtype| {
            let storage = dtype.on(DeviceSpec::Flex)?;
            let needs = Needs::of::<B>(self.config, storage, None, device);
            (needs.total() <= available).then_some((dtype, needs.total()))
        });
        match smaller {
            Some((dtype, bytes)) => {
                format!("use `{on}--dtype {dtype}`, which takes {}", Size(bytes))
            }
            None => "use what `paligemma convert --dtype int4` makes of it, a file of which only \
                     what is used has to be in memory"
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::{Flex, FlexDevice};
    use paligemma_nn::PackedFormat;

    use super::*;
    use crate::pocket;

    fn gib(bytes: u64) -> f64 {
        bytes as f64 / f64::from(1 << 30)
    }

    /// Peaks of whole processes at the published sizes (docs/benchmarks.md), which the estimate has
    /// to meet to a twentieth.
    #[test]
    fn estimates_are_the_measured_peaks() {
        let config = PaliGemmaConfig::published_3b(224);
        let peaks =
            [(Dtype::F32, 11.03), (Dtype::Bf16, 5.58), (Dtype::Int8, 2.86), (Dtype::Int4, 1.84)];
        for (dtype, peak) in peaks {
            let estimate = gib(needs(&config, dtype, None).unwrap().total());
            assert!((estimate / peak - 1.0).abs() < 0.05, "{dtype}: {estimate} for {peak}");
        }
    }

    #[test]
    fn weights_and_cache_are_exact() {
        let config = PaliGemmaConfig::published_3b(224);
        let needs = needs(&config, Dtype::F32, None).unwrap();
        // 64 rows more than the counted model: facts of the published files.
        assert_eq!(needs.weights, 4 * (2_923_335_408 + 64 * 2048));
        assert_eq!(needs.cache, 4 * 2 * 18 * (256 + 128) * 256);
        assert_eq!(needs.total(), needs.resident());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_way_out_and_a_mapped_file_is_not() {
        let config = PaliGemmaConfig::from_json(pocket::CONFIG).unwrap();
        let checkpoint = Checkpoint::from_static(pocket::WEIGHTS).unwrap();
        let check = |storage, device, available| {
            let fitting = Fitting { config: &config, checkpoint: &checkpoint, storage, device };
            fitting.check_within::<Flex>(available, &FlexDevice)
        };
        let total = |dtype| needs(&config, dtype, None).unwrap().total();
        let f32 = Storage::Dense(FloatDType::F32);
        let refused = check(f32, DeviceSpec::Flex, total(Dtype::Int8)).unwrap_err().to_string();
        let taken = Size(total(Dtype::F32)).to_string();
        for part in [&*taken, "in f32", "are free", "`--dtype int8`"] {
            assert!(refused.contains(part), "`{part}` is not in: {refused}");
        }
        let refused = check(f32, DeviceSpec::NdArray, total(Dtype::Int4)).unwrap_err();
        assert!(refused.to_string().contains("`--device flex --dtype int4`"), "{refused}");
        let refused = check(f32, DeviceSpec::Flex, 1 << 20).unwrap_err().to_string();
        assert!(refused.contains("paligemma convert --dtype int4"), "{refused}");
        assert_eq!(check(f32, DeviceSpec::Flex, total(Dtype::F32)).unwrap(), None);

        // The embedded file has the numbers of its model as they are in f16.
        let f16 = Storage::Dense(FloatDType::F16);
        let needs = Needs::of::<Flex>(&config, f16, Some(&checkpoint), &FlexDevice);
        assert_eq!(needs.mapped, needs.weights);
        let told = check(f16, DeviceSpec::Flex, needs.resident()).unwrap().unwrap();
        assert_eq!(told, Oversize { needs, available: needs.resident() });
        assert!(check(f16, DeviceSpec::NdArray, needs.resident()).is_err());
        assert!(check(f16, DeviceSpec::Flex, needs.resident() - 1).is_err());
        let packed = Storage::Packed(PackedFormat::Int8);
        assert_eq!(Needs::of::<Flex>(&config, packed, Some(&checkpoint), &FlexDevice).mapped, 0);
    }
}
