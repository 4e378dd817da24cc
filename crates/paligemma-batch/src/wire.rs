//! A line of the results, as other programs read it.

use paligemma::{Answer, Error, FinishReason};
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
    pub(crate) prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_ids: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finish_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl ResultRow {
    pub(crate) fn new(row: &Row, answer: Result<Answer, Error>) -> Self {
        let mut names: Vec<String> = row.images.iter().map(|image| image.name.clone()).collect();
        let mut result = Self { id: row.id.clone(), prompt: row.prompt.clone(), ..Self::default() };
        match names.len() {
            1 => result.image = names.pop(),
            _ => result.images = Some(names),
        }
        match answer {
            Ok(answer) => {
                let reason = match answer.finish_reason {
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                };
                result.finish_reason = Some(reason.to_owned());
                result.text = Some(answer.text);
                result.token_ids = Some(answer.token_ids);
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
