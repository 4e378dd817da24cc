//! Adapters of a model into the files of PEFT.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::DType;
use burn::tensor::backend::Backend;

use paligemma_files::WholeFile;

use super::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterConfig, BEGINNING, ENDINGS, is_factor};
use crate::formats::write_safetensors;
use crate::layout::IN_MEMORY;
use crate::names::parameter_shapes;
use crate::save::{SaveError, collect};
use crate::write::write_named;

/// Writes the adapters of `module`, a whole PaliGemma, into `folder`, made if need be: f32, with
/// the names that PEFT gives them over transformers from 4.52 on. Files appear under their names
/// when complete.
///
/// `config` says what the adapters were made with.
///
/// # Errors
///
/// If a file cannot be written, the module has no adapter, or the device fails.
pub fn save_adapter<B: Backend, M: Module<B>>(
    module: &M,
    folder: impl AsRef<Path>,
    config: &AdapterConfig,
) -> Result<(), SaveError> {
    let tensors = collect::<B, M>(module, Some(DType::F32), |path| {
        let name = is_factor(path).then(|| IN_MEMORY.file_name(path)).flatten();
        Ok(name.map(|name| format!("{BEGINNING}{name}")))
    })?;
    if tensors.is_empty() {
        return Err(SaveError::NoAdapter);
    }
    // The end of a module's name in transformers is its path here.
    let modules: Vec<String> = parameter_shapes::<B, M>(module)
        .into_iter()
        .filter_map(|(path, _)| path.strip_suffix(ENDINGS[0]).map(str::to_owned))
        .collect();
    let config = (ADAPTER_CONFIG.to_owned(), config.to_json(&modules).into_bytes());
    let write = |file: &mut WholeFile| write_safetensors(file, tensors, BTreeMap::new());
    write_named(folder.as_ref(), ADAPTER_WEIGHTS, write, &[config])
}
