//! The tiny PaliGemma as burn-store writes it, and whether burn-store reads what this project writes.
//!
//! usage: burnpack-golden write|compare PUBLISHED.safetensors FILE.bpk
//!
//! `write` calls tensors by their paths in the modules, and makes every second one f16; `compare` wants
//! every tensor of the file to be the published one, bit by bit.

use std::error::Error;

use burn_core::module::ParamId;
use burn_store::{BurnpackStore, BurnpackWriter, ModuleStore, TensorSnapshot};
use burn_tensor::{DType, TensorData};
use safetensors::SafeTensors;

/// Published beginnings of names, and those of paths in the modules.
const NAMES: [(&str, &str); 3] = [
    ("vision_tower.vision_model.", "vision_tower."),
    ("multi_modal_projector.", "multi_modal_projector."),
    ("language_model.model.", "language_model."),
];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [verb, published, file] = words.as_slice() else {
        return Err("usage: burnpack-golden write|compare PUBLISHED FILE".into());
    };
    let bytes = std::fs::read(published)?;
    let mut tensors = Vec::new();
    for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
        let path = NAMES.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)));
        let floats = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let data = TensorData::new(floats.collect::<Vec<f32>>(), view.shape().to_vec());
        tensors.push((path.ok_or(name)?, data));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    if verb == "write" { write(tensors, file) } else { compare(&tensors, file) }
}

fn write(tensors: Vec<(String, TensorData)>, file: &str) -> Result<(), Box<dyn Error>> {
    let snapshots = tensors.into_iter().enumerate().map(|(number, (path, data))| {
        let data = if number % 2 == 1 { data.convert_dtype(DType::F16) } else { data };
        let path = path.split('.').map(str::to_owned).collect();
        TensorSnapshot::from_data(data, path, Vec::new(), ParamId::from(number as u64))
    });
    let writer = BurnpackWriter::new(snapshots.collect()).with_metadata("producer", "burn");
    writer.write_to_file(file).map_err(|cause| format!("{cause:?}").into())
}

fn compare(tensors: &[(String, TensorData)], file: &str) -> Result<(), Box<dyn Error>> {
    let mut store = BurnpackStore::from_file(file);
    let found = store.get_all_snapshots().map_err(|cause| format!("{cause:?}"))?;
    assert!(found.keys().eq(tensors.iter().map(|(path, _)| path)), "{:?}", found.keys());
    for (path, data) in tensors {
        let theirs = found[path].to_data().map_err(|cause| format!("{cause:?}"))?;
        assert_eq!((&theirs.shape, theirs.dtype), (&data.shape, data.dtype), "{path}");
        assert!(theirs.as_bytes() == data.as_bytes(), "{path}");
    }
    println!("burn-store reads {} tensors", tensors.len());
    Ok(())
}
