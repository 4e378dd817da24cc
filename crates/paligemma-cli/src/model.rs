//! A model's name to the model: embedded, in a folder, or on the hub.

use std::path::{Path, PathBuf};

use clap::Args;
use paligemma::{DeviceSpec, Dtype, MaskModel, PaliGemma, pocket};
use paligemma_checkpoint::{
    Checkpoint, ConfigError, PaliGemmaConfig, Progress, SourceError, other_files,
};
use paligemma_processor::{Tokenizer, TokenizerError};

use crate::bar::Bar;
use crate::error::Error;

/// A model as it is asked for.
#[derive(Args, Debug)]
pub(crate) struct ModelName {
    /// A folder or a hub id such as google/paligemma-3b-mix-224; the embedded model if not given
    #[arg(long)]
    model: Option<String>,
    /// The branch, tag or commit of a hub id
    #[cfg(feature = "hub")]
    #[arg(long, requires = "model")]
    revision: Option<String>,
}

/// Where a model's files are.
#[derive(Debug)]
pub(crate) enum Place {
    /// In this program.
    Embedded,
    /// In a folder.
    Folder(PathBuf),
}

impl ModelName {
    /// Finds the model, and downloads what is missing of a hub id.
    pub(crate) fn locate(&self) -> Result<Place, Error> {
        let Some(name) = &self.model else { return Ok(Place::Embedded) };
        #[cfg(feature = "hub")]
        if self.revision.is_some() && Path::new(name).is_dir() {
            return Err(Error::RevisionOfFolder { path: name.into() });
        }
        #[cfg(feature = "hub")]
        let folder = self.fetch(name)?;
        #[cfg(not(feature = "hub"))]
        let folder = PathBuf::from(name);
        if folder.is_dir() {
            Ok(Place::Folder(folder))
        } else {
            Err(paligemma::Error::NotAFolder { path: folder }.into())
        }
    }

    /// The folder of a hub id, with a bar for each download where a person looks on.
    #[cfg(feature = "hub")]
    fn fetch(&self, name: &str) -> Result<PathBuf, paligemma::Error> {
        let mut bar: Option<(String, Bar)> = None;
        let show = |progress: paligemma_checkpoint::hub::Progress<'_>| {
            if bar.as_ref().is_none_or(|(file, _)| file != progress.file) {
                if let Some((_, done)) = bar.take() {
                    done.finish();
                }
                bar = Some((progress.file.to_owned(), Bar::new(progress.file)));
            }
            if let Some((_, bar)) = &bar {
                bar.show(progress.done, progress.total);
            }
        };
        let folder = paligemma_checkpoint::hub::resolve(name, self.revision.as_deref(), show);
        if let Some((_, bar)) = bar.filter(|_| folder.is_ok()) {
            bar.finish();
        }
        Ok(folder?)
    }
}

impl Place {
    /// Opens the model.
    pub(crate) fn open(
        &self,
        device: DeviceSpec,
        dtype: Dtype,
    ) -> Result<PaliGemma, paligemma::Error> {
        match self {
            Self::Embedded => PaliGemma::pocket(device, dtype),
            Self::Folder(folder) => {
                let bar = Bar::new("weights");
                let show = |Progress { done, total, .. }: Progress<'_>| bar.show(done, total);
                let model = PaliGemma::open_with(folder, device, dtype, show)?;
                bar.clear();
                Ok(model)
            }
        }
    }

    /// Opens the model's mask VQ-VAE alone.
    pub(crate) fn open_masks(&self, device: DeviceSpec) -> Result<MaskModel, paligemma::Error> {
        match self {
            Self::Embedded => MaskModel::pocket(device),
            Self::Folder(folder) => MaskModel::load(folder, device),
        }
    }

    /// The model's configuration.
    pub(crate) fn config(&self) -> Result<PaliGemmaConfig, ConfigError> {
        match self {
            Self::Embedded => PaliGemmaConfig::from_json(pocket::CONFIG),
            Self::Folder(folder) => PaliGemmaConfig::open(folder),
        }
    }

    /// The model's tokenizer.
    pub(crate) fn tokenizer(&self, config: &PaliGemmaConfig) -> Result<Tokenizer, TokenizerError> {
        let image = config.image_token_index;
        match self {
            Self::Embedded => Tokenizer::from_bytes(pocket::TOKENIZER, image),
            Self::Folder(folder) => Tokenizer::from_file(&folder.join("tokenizer.json"), image),
        }
    }

    /// The files beside the model's weights.
    pub(crate) fn other_files(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        match self {
            Self::Embedded => Ok(vec![
                ("config.json".to_owned(), pocket::CONFIG.as_bytes().to_vec()),
                ("tokenizer.json".to_owned(), pocket::TOKENIZER.to_vec()),
                ("masks.safetensors".to_owned(), pocket::MASKS.to_vec()),
            ]),
            Self::Folder(folder) => other_files(folder),
        }
    }

    /// The model's weights, left in their files.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, SourceError> {
        match self {
            Self::Embedded => Checkpoint::from_static(pocket::WEIGHTS),
            Self::Folder(folder) => Checkpoint::open(folder),
        }
    }
}
