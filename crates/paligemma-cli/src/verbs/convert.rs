//! `convert`: a model with its matrices packed, or in another format, in a folder of its own.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use paligemma::{
    Architecture, ColPali, DeviceSpec, DeviceWork, Error as ModelError, Model, NnBackend,
    PackedFormat, Place, Projections,
};
use paligemma_checkpoint::{Checkpoint, Format, Progress, WeightType, convert};

use crate::args::Threads;
use crate::bar::Bar;
use crate::error::Error;
use crate::model::ModelName;

use super::export::write;

/// A model to convert.
#[derive(Args, Debug)]
pub(crate) struct Convert {
    #[command(flatten)]
    model: ModelName,
    /// How the weights are written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: FileFormat,
    /// The type of the weights: bf16, int8 or int4 for packed; otherwise f32, f16 or bf16, and that of
    /// the checkpoint if not given
    #[arg(long, value_enum)]
    dtype: Option<NumberType>,
    /// The folder to write, for --model
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    threads: Threads,
}

/// Formats of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// model.safetensors with packed matrices, for the CPU
    #[default]
    Packed,
    /// model.safetensors, as published
    Safetensors,
    /// paligemma.npz, as big_vision has it
    Npz,
    #[value(help = "pytorch_model.bin, as torch.save writes it")]
    Pytorch,
    /// model.bpk, burn's own
    Burnpack,
}

/// Types of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NumberType {
    F32,
    F16,
    Bf16,
    Int8,
    Int4,
}

/// What is to be written.
#[derive(Clone, Copy)]
enum Target {
    Packed(PackedFormat),
    Whole(Format, Option<WeightType>),
}

impl Convert {
    fn target(&self) -> Result<Target, Error> {
        let format = match self.format {
            FileFormat::Packed => {
                return Ok(Target::Packed(match self.dtype {
                    Some(NumberType::Bf16) => PackedFormat::Bf16,
                    Some(NumberType::Int8) => PackedFormat::Int8,
                    Some(NumberType::Int4) => PackedFormat::Int4,
                    _ => return Err(Error::PackedDtype),
                }));
            }
            FileFormat::Safetensors => Format::Safetensors,
            FileFormat::Npz => Format::BigVision,
            FileFormat::Pytorch => Format::PyTorch,
            FileFormat::Burnpack => Format::Burnpack,
        };
        let dtype = match self.dtype {
            None => None,
            Some(NumberType::F32) => Some(WeightType::F32),
            Some(NumberType::F16) => Some(WeightType::F16),
            Some(NumberType::Bf16) => Some(WeightType::BF16),
            Some(NumberType::Int8 | NumberType::Int4) => {
                let format = format!("{:?}", self.format).to_lowercase();
                return Err(Error::FormatDtype { format });
            }
        };
        Ok(Target::Whole(format, dtype))
    }

    /// Converts a model, after all of its files were found sound.
    pub(crate) fn run(self) -> Result<(), Error> {
        let target = self.target()?;
        self.threads.start()?;
        let place = self.model.locate()?;
        if let Some(adapter) = place.adapter() {
            return Err(Error::Unmerged { folder: adapter.folder().to_owned() });
        }
        let format = match target {
            Target::Packed(format) => format,
            Target::Whole(format, dtype) => return write(&place, format, dtype, &self.out),
        };
        let architecture = place.architecture()?;
        place.tokenizer(architecture.vlm()).map_err(ModelError::from)?;
        let checkpoint = place.checkpoint().map_err(ModelError::from)?;
        let work = Work {
            place: &place,
            architecture: &architecture,
            checkpoint: &checkpoint,
            format,
            folder: &self.out,
        };
        // Matrices are packed on the CPU, so no GPU is opened unless the build has nothing else.
        let device = DeviceSpec::Flex.resolve().unwrap_or(DeviceSpec::Auto);
        device.run(work).map_err(ModelError::from)?
    }
}

/// Converts with the names and shapes of a model on any backend: nothing is computed.
struct Work<'a> {
    place: &'a Place,
    architecture: &'a Architecture,
    checkpoint: &'a Checkpoint,
    format: PackedFormat,
    folder: &'a Path,
}

impl DeviceWork for Work<'_> {
    type Output = Result<(), Error>;

    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output {
        match self.architecture {
            Architecture::PaliGemma(config) => {
                self.pack(Model::<B>::new(&config.vision, &config.text, &device))
            }
            Architecture::ColPali(config) => self.pack(ColPali::<B>::new(config, &device)),
        }
    }
}

impl Work<'_> {
    fn pack<B: NnBackend, M: Projections<B>>(self, model: M) -> Result<(), Error> {
        let others = self.place.other_files(self.architecture.vlm()).map_err(ModelError::from)?;
        let bar = Bar::new("weights");
        let show = |Progress { done, total, .. }: Progress<'_>| bar.show(done, total);
        convert(model, self.checkpoint, self.format, &others, self.folder, show)?;
        bar.finish();
        Ok(())
    }
}
