//! PaliGemma: pictures and prompts to text, boxes and scores.
//!
//! [`PaliGemma`] answers on a device chosen at run time; [`Model`] and [`Session`] are the same
//! model generic over burn backends, for those who choose one at compile time.
//!
//! ```
//! use paligemma::{DeviceSpec, Dtype, PaliGemma, image::RgbImage};
//!
//! # fn main() -> Result<(), paligemma::Error> {
//! let model = PaliGemma::pocket(DeviceSpec::Auto, Dtype::Auto)?; // or PaliGemma::open(folder, ..)
//! let picture = RgbImage::new(112, 112);
//! println!("{}", model.caption(&picture, "en")?);
//! for found in model.detect(&picture, &["red circle"])? {
//!     println!("{} at {}, {}", found.label, found.x0, found.y0);
//! }
//! # Ok(())
//! # }
//! ```

mod answers;
mod beams;
mod classify;
mod colpali;
mod constraint;
#[cfg(test)]
mod counting;
#[cfg(feature = "cuda")]
mod cuda;
mod detection;
mod device;
mod embed;
mod engine;
mod error;
mod fit;
mod generation;
mod items;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod kernels;
mod masks;
mod matching;
mod memory;
mod model;
mod needs;
mod pipeline;
mod place;
pub mod pocket;
mod retriever;
mod sampling;
mod score;
mod segment;
mod session;
mod split;
pub mod tasks;
mod verify;

pub use beams::{Beam, BeamSearch, BeamStep};
pub use classify::{Classifier, Classify, Label};
pub use colpali::{ColPali, MultiVector};
pub use constraint::Constraint;
pub use detection::{Detected, DetectedBox, DetectionOptions, LocationScale};
pub use device::{DeviceError, DeviceSpec, DeviceStatus, DeviceWork};
pub use embed::EncodedPicture;
pub use engine::{Dtype, Storage};
pub use error::Error;
pub use fit::{Fit, fit};
pub use generation::{Answer, FinishReason, Options, Request, Scene, Stream, Usage};
pub use items::Items;
pub use masks::MaskModel;
pub use matching::{Match, Matcher};
pub use memory::available_memory;
pub use model::{Model, Projector};
pub use needs::{Needs, Oversize, Size, needs};
pub use paligemma_checkpoint::PositionFilter;
pub use paligemma_nn::{
    Isa, NnBackend, PackedFormat, Projections, compute_here, keep_freed_memory,
};
pub use paligemma_processor::{Bitmap, Polygon, Rle, SoftMask, image};
pub use pipeline::PaliGemma;
pub use place::{Architecture, EMBEDDED, Fetch, Place};
pub use retriever::Retriever;
pub use sampling::{Sampling, highest};
pub use score::Candidate;
pub use segment::{Segment, Segmented};
pub use session::{Prompt, Session};
pub use verify::{Check, Outcome, Verdict, verify};
