//! Exact match: an answer is right if it is one of those accepted.

/// 1 if the prediction is one of the references, letter by letter, else 0 (GQA, AI2D, NLVR2).
pub fn exact_match(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    f64::from(u8::from(references.iter().any(|reference| reference.as_ref() == prediction)))
}

/// The same in lower case (OCR-VQA; big_vision's `to_lower`).
pub fn exact_match_lower(prediction: &str, references: &[impl AsRef<str>]) -> f64 {
    let lower: Vec<String> = references.iter().map(|text| text.as_ref().to_lowercase()).collect();
    exact_match(&prediction.to_lowercase(), &lower)
}
