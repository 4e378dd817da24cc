//! A model's name to the model: embedded, in a folder, or on the hub, with an adapter or without.

use std::io::{Write, stderr};
use std::path::PathBuf;

use clap::Args;
use paligemma::{DeviceSpec, Dtype, EMBEDDED, PaliGemma, Place, PositionFilter};
use paligemma_checkpoint::Progress;

use crate::bar::Bar;
use crate::error::Error;

/// A model as it is asked for.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelName {
    /// A folder (of a checkpoint, an adapter or a run) or a hub id such as
    /// google/paligemma-3b-mix-224; the embedded model if not given
    #[arg(long)]
    model: Option<String>,
    /// The model that an adapter adds to, if not the one that it names: a folder, a hub id or
    /// `embedded`
    #[arg(long, value_name = "MODEL", requires = "model")]
    base: Option<String>,
    /// The branch, tag or commit of a hub id
    #[cfg(feature = "hub")]
    #[arg(long, requires = "model")]
    revision: Option<String>,
    /// Look at pictures of this many pixels a side, and not at those that the model was made for:
    /// a multiple of its patches
    #[arg(long, value_name = "PIXELS")]
    resolution: Option<usize>,
    /// How positions are resampled for it: bilinear, as the authors do, or bicubic, as transformers
    /// does
    #[arg(long, value_name = "FILTER", requires = "resolution", value_parser = filter)]
    resample: Option<PositionFilter>,
}

fn filter(name: &str) -> Result<PositionFilter, String> {
    match name {
        "bilinear" => Ok(PositionFilter::Bilinear),
        "bicubic" => Ok(PositionFilter::Bicubic),
        _ => Err(format!("unknown filter `{name}`: use bilinear or bicubic")),
    }
}

impl ModelName {
    /// The name that was given, or that of the embedded model.
    pub(crate) fn name(&self) -> String {
        self.model.clone().unwrap_or_else(|| EMBEDDED.to_owned())
    }

    /// The same with another name.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { model: Some(name.to_owned()), ..self.clone() }
    }

    /// Finds the model, and downloads what is missing of a hub id.
    pub(crate) fn locate(&self) -> Result<Place, Error> {
        let name = self.model.as_deref().unwrap_or(EMBEDDED);
        #[cfg(feature = "hub")]
        if self.revision.is_some() && std::path::Path::new(name).is_dir() {
            return Err(Error::RevisionOfFolder { path: name.into() });
        }
        let place = Place::locate(name, self.base.as_deref(), &mut |name| self.fetch(name))?;
        let Some(side) = self.resolution else { return Ok(place) };
        let filter = self.resample.unwrap_or_default();
        Ok(place.at_resolution(side, filter).map_err(paligemma::Error::from)?)
    }

    #[cfg(not(feature = "hub"))]
    fn fetch(&self, name: &str) -> Result<PathBuf, paligemma::Error> {
        Err(paligemma::Error::NotAFolder { path: name.into() })
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

/// Opens a model that was found, with a bar while its weights are packed.
pub(crate) fn open(
    place: &Place,
    device: DeviceSpec,
    dtype: Dtype,
) -> Result<PaliGemma, paligemma::Error> {
    if device.compiles_first() {
        let kept = "they are kept for the next time";
        writeln!(stderr(), "note: kernels for this GPU are compiled now, for minutes; {kept}").ok();
    }
    let bar = Bar::new("weights");
    let show = |Progress { done, total, .. }: Progress<'_>| bar.show(done, total);
    let model = PaliGemma::open_place(place, device, dtype, show)?;
    bar.clear();
    if let Some(oversize) = model.oversize() {
        // Nobody may be reading, and the model works.
        writeln!(stderr(), "warning: {oversize}").ok();
    }
    Ok(model)
}
