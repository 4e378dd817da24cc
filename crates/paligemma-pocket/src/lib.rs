//! What the embedded model learns from and is measured by, as plain data: seeded scenes, prompts
//! with their answers, its vocabulary and its scores.
//!
//! ```
//! use paligemma_pocket::{Scene, task};
//!
//! let scene = Scene::generate(7, 1..=2);
//! let picture = scene.render();
//! assert_eq!(picture.dimensions(), (112, 112));
//! for example in task::evaluation_examples(&scene) {
//!     println!("{:?}: {} -> {}", example.task, example.prefix, example.suffix);
//! }
//! ```
#![deny(missing_docs)]
#![allow(
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "pixels and levels are brought into their ranges before they are cast"
)]

pub mod draw;
pub mod evaluate;
pub mod listing;
pub mod mention;
pub mod patches;
mod question;
pub mod scene;
pub mod silhouette;
pub mod task;
pub mod thing;
pub mod vocabulary;

pub use evaluate::Score;
pub use mention::Mention;
pub use scene::{FIRST_HELD_OUT_SEED, Scene};
pub use task::{Example, Task};
pub use thing::{Colour, Shape, Size, Thing};
