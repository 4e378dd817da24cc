//! What people ask of a picture, in the prompts that the published models were trained on
//! (big_vision `configs/proj/paligemma/README.md`).

use paligemma_processor::image::RgbImage;
use paligemma_processor::{Tokenizer, detection_spans};

use crate::{Answer, Error, PaliGemma};

/// The prompt for a caption in `language` (`en`, `de`, `es`, ...).
pub fn caption_prompt(language: &str) -> String {
    format!("caption {language}")
}

/// The prompt for the answer to `question` in `language`.
pub fn question_prompt(language: &str, question: &str) -> String {
    format!("answer {language} {question}")
}

/// The prompt for reading the text in a picture.
pub const OCR_PROMPT: &str = "ocr";

/// The prompt for the boxes of things.
///
/// # Errors
/// If nothing is named.
pub fn detection_prompt(things: &[impl AsRef<str>]) -> Result<String, Error> {
    let things: Vec<&str> = things.iter().map(|thing| thing.as_ref().trim()).collect();
    let things: Vec<&str> = things.into_iter().filter(|thing| !thing.is_empty()).collect();
    if things.is_empty() {
        return Err(Error::Nothing { what: "thing to detect" });
    }
    Ok(format!("detect {}", things.join(" ; ")))
}

/// A box in pixels of the original picture.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedBox {
    /// What is in it.
    pub label: String,
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
    /// How sure the model was: the geometric mean of the probabilities of its four location
    /// tokens when they were chosen, 0..=1.
    pub confidence: f32,
}

/// The boxes in an answer to a detection prompt about a picture of `width` x `height` pixels.
pub fn boxes(
    answer: &Answer,
    tokenizer: &Tokenizer,
    (width, height): (u32, u32),
) -> Vec<DetectedBox> {
    let spans = detection_spans(&answer.token_ids, tokenizer);
    let detected = spans.into_iter().map(|(detection, tokens)| {
        let locations = &answer.log_probabilities[tokens][..4];
        DetectedBox {
            label: detection.label,
            x0: detection.x0 * width as f32,
            y0: detection.y0 * height as f32,
            x1: detection.x1 * width as f32,
            y1: detection.y1 * height as f32,
            confidence: (locations.iter().sum::<f32>() / 4.0).exp(),
        }
    });
    detected.collect()
}

impl PaliGemma {
    /// A caption in `language`.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`].
    pub fn caption(&self, picture: &RgbImage, language: &str) -> Result<String, Error> {
        Ok(self.answer(picture, &caption_prompt(language))?.text)
    }

    /// The answer to an English question.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`].
    pub fn ask(&self, picture: &RgbImage, question: &str) -> Result<String, Error> {
        Ok(self.answer(picture, &question_prompt("en", question))?.text)
    }

    /// The text in the picture.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`].
    pub fn ocr(&self, picture: &RgbImage) -> Result<String, Error> {
        Ok(self.answer(picture, OCR_PROMPT)?.text)
    }

    /// The boxes of the named things that are in the picture.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`]; and if nothing is named.
    pub fn detect(
        &self,
        picture: &RgbImage,
        things: &[impl AsRef<str>],
    ) -> Result<Vec<DetectedBox>, Error> {
        let answer = self.answer(picture, &detection_prompt(things)?)?;
        Ok(boxes(&answer, self.tokenizer(), picture.dimensions()))
    }
}
