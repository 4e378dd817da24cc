//! A line of the results, as other programs read it.

use paligemma::{Answer, DetectedBox, Error, FinishReason};
use serde::{Deserialize, Serialize};

use crate::Row;

/// A row and its answer, or why there is none.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct ResultRow {
    pub(crate) id: String,
    /// The picture of a row that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// The pictures of a row that has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) images: Option<Vec<String>>,
    /// Pixels across of the picture of a row that has one, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) width: Option<u32>,
    /// Pixels down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) height: Option<u32>,
    pub(crate) prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_ids: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finish_reason: Option<String>,
    /// What the text says is where, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) boxes: Option<Vec<Box>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A box as `detect` prints it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Box {
    pub(crate) label: String,
    pub(crate) x0: f32,
    pub(crate) y0: f32,
    pub(crate) x1: f32,
    pub(crate) y1: f32,
    pub(crate) confidence: f32,
}

/// An answer, and what else is known when it is there.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    /// Of the only picture.
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) boxes: Vec<DetectedBox>,
}

impl ResultRow {
    pub(crate) fn new(row: &Row, answered: Result<Answered, Error>) -> Self {
        let mut names: Vec<String> = row.images.iter().map(|image| image.name.clone()).collect();
        let mut result = Self { id: row.id.clone(), prompt: row.prompt.clone(), ..Self::default() };
        match names.len() {
            1 => result.image = names.pop(),
            _ => result.images = Some(names),
        }
        match answered {
            Ok(Answered { answer, size, boxes }) => {
                let reason = match answer.finish_reason {
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                };
                result.finish_reason = Some(reason.to_owned());
                result.text = Some(answer.text);
                result.token_ids = Some(answer.token_ids);
                (result.width, result.height) = size.unzip();
                let boxes: Vec<Box> = boxes.into_iter().map(Box::from).collect();
                result.boxes = Some(boxes).filter(|boxes| !boxes.is_empty());
            }
            Err(error) => result.error = Some(error.to_string()),
        }
        result
    }

    /// The pictures, however many there are.
    pub(crate) fn pictures(&self) -> &[String] {
        match (&self.image, &self.images) {
            (Some(image), _) => std::slice::from_ref(image),
            (None, images) => images.as_deref().unwrap_or_default(),
        }
    }
}

impl From<DetectedBox> for Box {
    fn from(found: DetectedBox) -> Self {
        let DetectedBox { label, x0, y0, x1, y1, confidence } = found;
        Self { label, x0, y0, x1, y1, confidence }
    }
}
