//! Training of the embedded model: the eyes first, then words for one thing, then for more.

mod data;
mod eyes;
mod files;
mod language;
mod masks;
mod model;
mod pupil;
mod scoring;

use std::path::Path;

use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use data::Tools;

pub(crate) use files::{begin, export};
pub(crate) use scoring::evaluate;

/// The backend that trains.
pub(crate) type Training = Autodiff<Flex>;

/// Anything that may go wrong here ends the command with its message.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Trains from nothing, from the latest checkpoint in `out`, or the last stage alone from an exported
/// one, for `seconds` in all.
pub(crate) fn run(out: &Path, from: Option<&Path>, seconds: f64) -> Result<()> {
    let device = FlexDevice;
    let run = paligemma_train::RunDirectory::create(out)?;
    run.lock()?;
    if let Some(exported) = from {
        files::adopt(&run, exported)?;
    }
    let vae = masks::open(&run)?;
    let tools =
        || -> Result<Tools> { Ok(Tools { tokenizer: data::tokenizer()?, vae: vae.clone() }) };
    let mut state = files::State::open(&run, &device)?;
    if state.progress.stage == 0 {
        state = eyes::teach(&run, state, tools()?)?;
    }
    language::teach(&run, state, seconds, &vae)
}
