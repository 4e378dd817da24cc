//! What people ask of a picture, in the prompts that the published models were trained on.
//!
//! Sources: big_vision `configs/proj/paligemma/README.md` and `transfers/*.py`, and the table of
//! <https://ai.google.dev/gemma/docs/paligemma/prompt-system-instructions>. That page says of some
//! prompts that only pretrained (`pt`) checkpoints know them; of the `mix` checkpoints big_vision says
//! that they also take free questions, and `detect` and `segment` as here. A checkpoint transferred to
//! one task knows the prompt of that task alone (`DocVQA` and `ChartQA`: the bare question).

use std::str::FromStr;

use paligemma_processor::image::RgbImage;

use crate::{DetectedBox, DetectionOptions, Error, PaliGemma};

pub use crate::detection::{boxes, distinct};

/// How a picture is described; each is the first word of its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptionStyle {
    /// Raw and short, as alternative texts of the web; pretrained checkpoints.
    Cap,
    /// One short sentence, as in COCO.
    #[default]
    Caption,
    /// Longer, with more detail; pretrained checkpoints.
    Describe,
}

impl CaptionStyle {
    /// The prompt for a description in `language` (`en`, `de`, `es`, ...).
    pub fn prompt(self, language: &str) -> String {
        let word = match self {
            Self::Cap => "cap",
            Self::Caption => "caption",
            Self::Describe => "describe",
        };
        format!("{word} {language}")
    }
}

impl FromStr for CaptionStyle {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "cap" => Ok(Self::Cap),
            "caption" => Ok(Self::Caption),
            "describe" => Ok(Self::Describe),
            _ => Err(format!("unknown style `{name}`: use cap, caption or describe")),
        }
    }
}

/// The prompt for a caption in `language` (`en`, `de`, `es`, ...).
pub fn caption_prompt(language: &str) -> String {
    CaptionStyle::Caption.prompt(language)
}

/// The prompt for the answer to `question` in `language`.
pub fn question_prompt(language: &str, question: &str) -> String {
    format!("answer {language} {question}")
}

/// The prompt for a question in `language` that `answer` answers; pretrained checkpoints.
pub fn question_for_prompt(language: &str, answer: &str) -> String {
    format!("question {language} {answer}")
}

/// The prompt for reading the text in a picture.
pub const OCR_PROMPT: &str = "ocr";

/// The prompt for the boxes of things.
///
/// # Errors
/// If nothing is named.
pub fn detection_prompt(things: &[impl AsRef<str>]) -> Result<String, Error> {
    named("detect", things)
}

/// The prompt for the outlines of things.
///
/// # Errors
/// If nothing is named.
pub fn segmentation_prompt(things: &[impl AsRef<str>]) -> Result<String, Error> {
    named("segment", things)
}

/// The things among names of which some may be blank.
pub(crate) fn named_things(things: &[impl AsRef<str>]) -> Vec<&str> {
    things.iter().map(|thing| thing.as_ref().trim()).filter(|thing| !thing.is_empty()).collect()
}

fn named(task: &str, things: &[impl AsRef<str>]) -> Result<String, Error> {
    let things = named_things(things);
    if things.is_empty() {
        return Err(Error::Nothing { what: "thing to look for" });
    }
    Ok(format!("{task} {}", things.join(" ; ")))
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
        let scene = self.encode(std::slice::from_ref(picture));
        Ok(self.detect_with(&scene, things, &DetectionOptions::default())?.boxes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_the_published_ones() {
        for (prompt, expected) in [
            (caption_prompt("de"), "caption de"),
            (CaptionStyle::Cap.prompt("en"), "cap en"),
            (CaptionStyle::Describe.prompt("pt"), "describe pt"),
            (question_prompt("en", "how many?"), "answer en how many?"),
            (question_for_prompt("en", "three"), "question en three"),
            (detection_prompt(&[" cat", "", "dog "]).unwrap(), "detect cat ; dog"),
            (segmentation_prompt(&["cat"]).unwrap(), "segment cat"),
        ] {
            assert_eq!(prompt, expected);
        }
        assert!(detection_prompt(&[" "]).is_err());
    }
}
