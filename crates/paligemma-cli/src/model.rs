//! A model's name to the model: embedded, in a folder, or on the hub, with an adapter or without.

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use paligemma::{
    DeviceSpec, Dtype, EMBEDDED, Oversize, PaliGemma, Place, PositionFilter, Retriever,
};
use paligemma_checkpoint::Progress;
use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::error::Error;

/// A model as it is asked for. A run keeps its name and its version with its settings, and the rest
/// beside them.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ModelName {
    /// A folder (of a checkpoint, an adapter or a run) or a hub id such as
    /// google/paligemma-3b-mix-224; the embedded model if not given
    #[arg(long)]
    #[serde(skip)]
    model: Option<String>,
    /// The model that an adapter adds to, if not the one that it names: a folder, a hub id or
    /// `embedded`
    #[arg(long, value_name = "MODEL", requires = "model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// The branch, tag or commit of a hub id
    #[arg(long, requires = "model", hide = !cfg!(feature = "hub"))]
    #[serde(skip)]
    revision: Option<String>,
    /// Look at pictures of this many pixels a side, and not at those that the model was made for:
    /// a multiple of its patches
    #[arg(long, value_name = "PIXELS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<usize>,
    /// How positions are resampled for it: bilinear, as the authors do, or bicubic, as transformers
    /// does
    #[arg(long, value_name = "FILTER", requires = "resolution", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    resample: Option<Resample>,
}

/// A [`PositionFilter`] by its name.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Resample {
    Bilinear,
    Bicubic,
}

impl From<Resample> for PositionFilter {
    fn from(name: Resample) -> Self {
        match name {
            Resample::Bilinear => Self::Bilinear,
            Resample::Bicubic => Self::Bicubic,
        }
    }
}

impl ModelName {
    /// The name that was given, or that of the embedded model.
    pub(crate) fn name(&self) -> String {
        self.model.clone().unwrap_or_else(|| EMBEDDED.to_owned())
    }

    /// The same wherever a program is started: folders by their full paths.
    pub(crate) fn anywhere(self) -> Self {
        let full = |name: String| match std::path::absolute(&name) {
            Ok(path) if path.is_dir() && name != EMBEDDED => path.display().to_string(),
            _ => name,
        };
        Self { model: self.model.map(full), base: self.base.map(full), ..self }
    }

    /// The version that was asked for.
    pub(crate) fn revision(&self) -> Option<String> {
        self.revision.clone()
    }

    /// The model of this name and version, with what else was asked of this one.
    pub(crate) fn named(self, name: &str, revision: Option<String>) -> Self {
        Self { model: Some(name.to_owned()), revision, ..self }
    }

    /// Finds the model, and downloads what is missing of a hub id.
    pub(crate) fn locate(&self) -> Result<Place, Error> {
        let name = self.model.as_deref().unwrap_or(EMBEDDED);
        if self.revision.is_some() && Path::new(name).is_dir() {
            return Err(Error::RevisionOfFolder { path: name.into() });
        }
        let place =
            Place::locate(name, self.revision.as_deref(), self.base.as_deref(), &mut fetch)?;
        let Some(side) = self.resolution else { return Ok(place) };
        let filter = self.resample.map(PositionFilter::from).unwrap_or_default();
        Ok(place.at_resolution(side, filter)?)
    }
}

#[cfg(not(feature = "hub"))]
fn fetch(name: &str, _: Option<&str>) -> Result<PathBuf, paligemma::Error> {
    Err(paligemma::Error::NotAFolder { path: name.into() })
}

/// The folder of a hub id, with a bar for each download where a person looks on.
#[cfg(feature = "hub")]
fn fetch(name: &str, revision: Option<&str>) -> Result<PathBuf, paligemma::Error> {
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
    let folder = paligemma_checkpoint::hub::resolve(name, revision, show);
    if let Some((_, bar)) = bar.filter(|_| folder.is_ok()) {
        bar.finish();
    }
    Ok(folder?)
}

/// Opens a model that was found, with a bar while its weights are packed.
pub(crate) fn open(
    place: &Place,
    device: DeviceSpec,
    dtype: Dtype,
) -> Result<PaliGemma, paligemma::Error> {
    let model = opened(device, |show| PaliGemma::open_place(place, device, dtype, show))?;
    warn(model.oversize());
    Ok(model)
}

/// The same for a ColPali.
pub(crate) fn open_retriever(
    place: &Place,
    device: DeviceSpec,
    dtype: Dtype,
) -> Result<Retriever, paligemma::Error> {
    let model = opened(device, |show| Retriever::open(place, device, dtype, show))?;
    warn(model.oversize());
    Ok(model)
}

fn opened<T>(
    device: DeviceSpec,
    open: impl FnOnce(&dyn Fn(Progress<'_>)) -> Result<T, paligemma::Error>,
) -> Result<T, paligemma::Error> {
    if device.compiles_first() {
        let kept = "they are kept for the next time";
        writeln!(
            stderr(),
            "note: kernels for this GPU are compiled now, which may take a minute; {kept}"
        )
        .ok();
    }
    let bar = Bar::new("weights");
    let model = open(&|Progress { done, total, .. }: Progress<'_>| bar.show(done, total))?;
    bar.clear();
    Ok(model)
}

fn warn(oversize: Option<&Oversize>) {
    if let Some(oversize) = oversize {
        // Nobody may be reading, and the model works.
        writeln!(stderr(), "warning: {oversize}").ok();
    }
}
