//! The files beside the weights that say how pictures are prepared and where answers end, held
//! against what is done here.

use serde_json::{Map, Value, json};

use crate::config::PaliGemmaConfig;

/// How pictures are prepared, in published checkpoints.
pub const PREPROCESSOR: &str = "preprocessor_config.json";
/// How answers are made.
pub const GENERATION: &str = "generation_config.json";

/// What Pillow, and so the reference, calls bicubic.
const BICUBIC: u64 = 3;
/// Written with as many digits as a program likes.
const TOLERANCE: f64 = 1e-6;

/// What a `preprocessor_config.json` says that is not done here, or does not fit the model: a
/// line for each. Fields that are missing have the defaults of the reference
/// (`image_processing_siglip.py`), but for the size, which is the model's.
pub fn preprocessor_faults(file: &[u8], config: &PaliGemmaConfig) -> Vec<String> {
    let fields = match object(file) {
        Ok(fields) => fields,
        Err(fault) => return vec![fault],
    };
    let side = config.vision.image_size;
    let half = json!([0.5, 0.5, 0.5]);
    let expected = [
        ("size", json!({"height": side, "width": side})),
        ("image_seq_length", json!(config.vision.num_patches())),
        ("resample", json!(BICUBIC)),
        ("rescale_factor", json!(1.0 / 255.0)),
        ("image_mean", half.clone()),
        ("image_std", half),
        ("do_resize", json!(true)),
        ("do_rescale", json!(true)),
        ("do_normalize", json!(true)),
        ("do_convert_rgb", json!(true)),
    ];
    let differs = |(field, expected): &(&str, Value)| {
        let found = fields.get(*field).filter(|found| !found.is_null())?;
        let found = if *field == "size" { square(found) } else { found.clone() };
        (!same(&found, expected)).then(|| format!("{field} is {found}, pictures need {expected}"))
    };
    let mut faults: Vec<String> = expected.iter().filter_map(differs).collect();
    let kind = fields.get("image_processor_type").and_then(Value::as_str);
    if let Some(kind) = kind.filter(|kind| !kind.starts_with("SiglipImageProcessor")) {
        faults.push(format!("image_processor_type is {kind}, expected SiglipImageProcessor"));
    }
    faults
}

/// What a `generation_config.json` says of special tokens that is not what `config.json` says: a
/// line for each. One that names no end would let other programs write on after an answer.
pub fn generation_faults(file: &[u8], config: &PaliGemmaConfig) -> Vec<String> {
    let fields = match object(file) {
        Ok(fields) => fields,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    let eos = config.eos_token_id;
    // One end, or a list of them.
    let ends = match fields.get("eos_token_id") {
        Some(Value::Array(ends)) => ends.clone(),
        Some(end) if !end.is_null() => vec![end.clone()],
        _ => Vec::new(),
    };
    if ends.is_empty() {
        faults.push(format!("no eos_token_id, answers end with {eos}"));
    } else if ends != [json!(eos)] {
        faults.push(format!("eos_token_id is {}, answers end with {eos}", fields["eos_token_id"]));
    }
    for (field, expected) in
        [("bos_token_id", config.bos_token_id), ("pad_token_id", config.pad_token_id)]
    {
        let found = fields.get(field).filter(|found| !found.is_null());
        if let Some(found) = found.filter(|found| **found != json!(expected)) {
            faults.push(format!("{field} is {found}, config.json says {expected}"));
        }
    }
    faults
}

fn object(file: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(file).map_err(|cause| format!("not a JSON object: {cause}"))
}

/// A size as height and width; one number stands for both.
fn square(size: &Value) -> Value {
    if size.is_number() { json!({"height": size, "width": size}) } else { size.clone() }
}

fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| same(a, b))
        }
        (Value::Number(found), Value::Number(expected)) => {
            let number = |value: &serde_json::Number| value.as_f64().unwrap_or(f64::NAN);
            (number(found) - number(expected)).abs() <= TOLERANCE
        }
        _ => found == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preprocessor(change: impl FnOnce(&mut Value)) -> Vec<String> {
        // As the published 224-pixel checkpoints have it.
        let mut file = json!({
            "do_convert_rgb": null, "do_normalize": true, "do_rescale": true, "do_resize": true,
            "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor",
            "image_seq_length": 256, "image_std": [0.5, 0.5, 0.5], "resample": 3,
            "processor_class": "PaliGemmaProcessor", "rescale_factor": 0.003_921_568_627_450_98,
            "size": {"height": 224, "width": 224},
        });
        change(&mut file);
        preprocessor_faults(file.to_string().as_bytes(), &PaliGemmaConfig::published_3b(224))
    }

    #[test]
    fn published_settings_are_what_is_done_here() {
        assert_eq!(preprocessor(|_| ()), [""; 0]);
        assert_eq!(preprocessor(|file| file["size"] = json!(224)), [""; 0]);
        assert_eq!(preprocessor(|file| *file = json!({})), [""; 0]);
        assert_eq!(
            preprocessor(|file| file["image_processor_type"] = json!("SiglipImageProcessorFast")),
            [""; 0]
        );
    }

    #[test]
    fn every_other_setting_is_named() {
        for (field, value) in [
            ("size", json!({"height": 448, "width": 448})),
            ("size", json!({"shortest_edge": 224})),
            ("image_seq_length", json!(1024)),
            ("resample", json!(2)),
            ("rescale_factor", json!(1)),
            ("image_mean", json!([0.485, 0.456, 0.406])),
            ("image_mean", json!([0.5])),
            ("image_std", json!([1, 1, 1])),
            ("do_normalize", json!(false)),
            ("do_convert_rgb", json!(false)),
            ("image_processor_type", json!("CLIPImageProcessor")),
        ] {
            let faults = preprocessor(|file| file[field] = value);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].starts_with(&format!("{field} is ")), "{faults:?}");
        }
        assert!(preprocessor(|file| *file = json!([]))[0].starts_with("not a JSON object"));
    }

    #[test]
    fn an_answer_must_end_where_the_configuration_says() {
        let faults = |file: Value| {
            generation_faults(file.to_string().as_bytes(), &PaliGemmaConfig::published_3b(224))
        };
        let published = json!({"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0});
        assert_eq!(faults(published), [""; 0]);
        assert_eq!(faults(json!({"eos_token_id": [1]})), [""; 0]);
        assert_eq!(faults(json!({})), ["no eos_token_id, answers end with 1"]);
        assert_eq!(faults(json!({"eos_token_id": null})).len(), 1);
        assert_eq!(faults(json!({"eos_token_id": []})).len(), 1);
        let other = faults(json!({"eos_token_id": 107, "bos_token_id": 3, "pad_token_id": 1}));
        assert_eq!(other.len(), 3);
        assert_eq!(other[0], "eos_token_id is 107, answers end with 1");
    }
}
