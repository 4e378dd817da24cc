//! Pictures, prompts and answers of PaliGemma as plain data: no tensors, no model.
//!
//! * [`open_picture`] and [`decode_picture`] read picture files, [`picture_size`] their headers,
//!   [`preprocess`] turns a picture into the numbers the vision tower takes.
//! * [`Clip`] and [`FrameChoice`] take frames out of a folder or an animation.
//! * [`Tokenizer`] turns prompts into token ids and token ids into text, whole or as a
//!   [`TextStream`].
//! * [`parse_detections`] and [`detection_spans`] read boxes and codes of masks out of an answer.
//! * [`SoftMask`] lays a decoded mask over the picture, [`crop_mask`] is the way back; a [`Bitmap`]
//!   has an area, outlines ([`Polygon`]) and COCO's run lengths ([`Rle`]).
//!
//! ```
//! use paligemma_processor::{image::RgbImage, parse_detections, preprocess};
//!
//! // A picture of any shape becomes [3, 224, 224] numbers in -1..=1.
//! let picture = RgbImage::from_pixel(640, 480, [255, 0, 0].into());
//! let pixels = preprocess(&picture, 224);
//! assert_eq!(pixels.len(), 3 * 224 * 224);
//! assert_eq!((pixels[0], pixels[224 * 224]), (1.0, -1.0));
//!
//! // An answer to "detect cat" becomes boxes in fractions of the picture.
//! let cats = parse_detections("<loc0000><loc0341><loc1023><loc0682> cat");
//! assert_eq!(cats[0].label, "cat");
//! assert_eq!((cats[0].y0, cats[0].x0, cats[0].y1), (0.0, 341.0 / 1023.0, 1.0));
//! ```
//!
//! With the `tokenizer.json` of a checkpoint:
//!
//! ```no_run
//! use paligemma_processor::Tokenizer;
//! # fn main() -> Result<(), paligemma_processor::TokenizerError> {
//! // 257152 is `image_token_index` in the checkpoint's config.json; one picture at 224 pixels
//! // takes 256 image tokens.
//! let tokenizer = Tokenizer::from_file("checkpoint/tokenizer.json".as_ref(), 257_152)?;
//! let prompt = tokenizer.encode_prompt("caption en", 1, 256)?;
//! assert_eq!(prompt[..256], [257_152; 256]);
//! # Ok(())
//! # }
//! ```

mod bitmap;
mod detection;
mod frames;
mod jpeg;
mod outline;
mod picture;
mod polygon;
mod resize;
mod rle;
mod soft_mask;
mod stream;
mod tokenizer;

pub use bitmap::Bitmap;
pub use detection::{CODES, Detection, detection_spans, format_detections, parse_detections};
pub use frames::{
    Clip, ClipError, DEFAULT_FRAMES, FrameChoice, MAX_FRAMES, is_picture_name, picture_files,
};
pub use image;
pub use picture::{
    MAX_BYTES, MAX_SIDE, PictureError, decode_picture, open_picture, picture_size, preprocess,
};
pub use polygon::Polygon;
pub use resize::resize;
pub use rle::{Rle, RleError};
pub use soft_mask::{MASK_SIDE, SoftMask, crop_mask};
pub use stream::TextStream;
pub use tokenizer::{LOCATIONS, SEGMENTS, SpecialTokens, Tokenizer, TokenizerError};
