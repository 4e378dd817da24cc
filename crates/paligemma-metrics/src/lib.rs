//! The metrics that the transfer tasks are measured by, each equal to its public reference.
//!
//! Every metric has a plain function of its own ([`vqa_accuracy`], [`anls`], [`cider`],
//! [`average_precision`], ...); [`Metric`] names them as they are asked for, and scores a whole set
//! at once.
//!
//! | Metric | Reference |
//! |---|---|
//! | `exact`, `exact-lower`, `vqa-any-three` | big_vision `evaluators/proj/paligemma/transfers/vqa.py` |
//! | `vqa` | the VQA challenge's `vqaEval.py`, with its processing of answers |
//! | `anls` | the package `anls`, threshold 0.5 |
//! | `relaxed` | big_vision `transfers/chartqa.py` |
//! | `cider`, `bleu4` | pycocoevalcap, with its tokenizer |
//! | `miou`, `box-accuracy`, `map` | pycocotools |
//! | `accuracy` | scikit-learn |
//!
//! ```
//! use paligemma_metrics::{Examples, Metric, Text};
//!
//! let answers = [
//!     Text { prediction: "2".into(), references: vec!["two".into(); 10] },
//!     Text { prediction: "no".into(), references: vec!["yes".into(); 10] },
//! ];
//! let metric: Metric = "exact".parse()?;
//! assert_eq!(metric.score(&Examples::Texts(&answers))?.scores, [0.0, 0.0]);
//! # Ok::<(), paligemma_metrics::MetricError>(())
//! ```

mod anls;
mod boxes;
mod caption;
mod coco;
mod confusion;
mod error;
mod exact;
mod masks;
mod metric;
mod python;
mod relaxed;
mod report;
mod vqa;

pub use anls::anls;
pub use boxes::Rect;
pub use caption::{Bleu, Cider, bleu, caption_words, cider};
pub use coco::{AveragePrecision, Detection, Picture, Truth, average_precision};
pub use confusion::{Confusion, confusion};
pub use error::MetricError;
pub use exact::{exact_match, exact_match_lower};
pub use masks::{Mask, mask_iou};
pub use metric::{Examples, Kind, Metric, Referred, Region, Text};
pub use relaxed::relaxed_match;
pub use report::Report;
pub use vqa::{vqa_accuracy, vqa_answer, vqa_any_three};
