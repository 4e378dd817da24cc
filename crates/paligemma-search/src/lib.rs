//! Folders of pictures kept for search: by a picture that looks alike, and by a text.
//!
//! [`update`] walks a folder and keeps of every picture its embedding, the features that prompts
//! are answered from (in f16) and a caption. [`Index`] searches what is kept; no picture is read
//! or encoded again.
//!
//! An index is a folder of safetensors files of a few pictures each. A file is written beside its
//! place and moved there, so an interrupted run loses at most the pictures it was working on. One
//! process at a time updates an index; any number may search it meanwhile.
//!
//! ```
//! use paligemma::{DeviceSpec, Dtype, PaliGemma, image::RgbImage};
//! use paligemma_search::{Index, TextSearch, update};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let picture = RgbImage::from_pixel(112, 112, [200, 40, 40].into());
//! picture.save(folder.path().join("red.png"))?;
//!
//! let model = PaliGemma::pocket(DeviceSpec::Flex, Dtype::Auto)?;
//! let kept = folder.path().join("index");
//! let report = update(&model, folder.path(), &kept, |_| ())?;
//! assert_eq!((report.added, report.failed.len()), (1, 0));
//!
//! let index = Index::open(&kept, &model)?;
//! let alike = index.search_image(&picture, 5)?;
//! assert!(alike[0].path.ends_with("red.png"));
//! let told = index.search_text("a large red square", &TextSearch::default())?;
//! assert_eq!(told.len(), 1);
//! # Ok(())
//! # }
//! ```

mod error;
mod index;
mod lock;
mod search;
mod shard;
mod update;
mod walk;

pub use error::SearchError;
pub use index::Index;
pub use search::{Found, TextSearch};
pub use update::{Failed, Progress, Report, update};
