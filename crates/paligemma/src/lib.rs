//! PaliGemma: pictures and prompts to text, boxes and scores.

mod model;
mod session;

pub use model::{Model, Projector};
pub use paligemma_nn::NnBackend;
pub use session::{Prompt, Session};
