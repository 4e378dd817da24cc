//! What was typed, as clap reads it; [`crate::plan`] says what it means.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use paligemma::{DeviceSpec, Dtype, Options, PackedFormat};

/// PaliGemma in a shell: captions, answers, boxes and scores for pictures
#[derive(Debug, Parser)]
#[command(name = "paligemma", version)]
pub(crate) struct LowArgs {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Describe a picture
    Caption {
        /// The picture: PNG, JPEG, WebP, GIF, BMP or TIFF
        image: PathBuf,
        /// The language of the caption
        #[arg(long, default_value = "en")]
        lang: String,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Answer a question about a picture
    Ask {
        /// The picture
        image: PathBuf,
        /// The question
        question: String,
        /// The language of the answer
        #[arg(long, default_value = "en")]
        lang: String,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Read the text in a picture
    Ocr {
        /// The picture
        image: PathBuf,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Answer a prompt as it is, about one or more pictures
    Generate {
        /// The pictures, in the order in which they stand before the prompt
        #[arg(required = true)]
        images: Vec<PathBuf>,
        /// The prompt as the model was trained on it, such as "caption en"
        #[arg(long)]
        prompt: String,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Find things in a picture: a line `label confidence x0 y0 x1 y1` in pixels for each
    Detect {
        /// The picture
        image: PathBuf,
        /// What to look for, as in "car ; person"
        things: String,
        /// Also draw the boxes into a copy of the picture (.png, .jpg or .webp)
        #[arg(long, value_name = "PICTURE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Say how probable given answers are
    Score {
        /// The pictures
        #[arg(required = true)]
        images: Vec<PathBuf>,
        /// The prompt as the model was trained on it
        #[arg(long)]
        prompt: String,
        /// An answer; may be given many times
        #[arg(long = "candidate", required = true, value_name = "ANSWER")]
        candidates: Vec<String>,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        json: JsonArgs,
    },
    /// Write a model in a smaller format that a CPU computes with, and that opens at once
    Convert {
        #[command(flatten)]
        model: NameArgs,
        /// bf16, int8 or int4
        #[arg(long)]
        dtype: PackedFormat,
        /// The folder to write, for --model
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Say what a model is: configuration, tensors, size, tokenizer, and what is wrong with it
    Info {
        #[command(flatten)]
        model: NameArgs,
        #[command(flatten)]
        json: JsonArgs,
    },
    /// Say what this build can run on, on this machine
    Devices {
        #[command(flatten)]
        json: JsonArgs,
    },
}

/// Which model.
#[derive(Args, Debug)]
pub(crate) struct NameArgs {
    /// A folder or a hub id such as google/paligemma-3b-mix-224; the embedded model if not given
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// The branch, tag or commit of a hub id
    #[cfg(feature = "hub")]
    #[arg(long, requires = "model")]
    pub(crate) revision: Option<String>,
}

/// Which model, and what it runs on.
#[derive(Args, Debug)]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    pub(crate) name: NameArgs,
    /// auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value_t)]
    pub(crate) device: DeviceSpec,
    /// auto, f32, f16, bf16, int8 or int4
    #[arg(long, default_value_t)]
    pub(crate) dtype: Dtype,
    /// How many threads compute on a CPU; all cores if not given
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
}

/// How an answer is made, and how it is shown.
#[derive(Args, Debug)]
pub(crate) struct AnswerArgs {
    /// The most tokens that an answer has
    #[arg(long, value_name = "N", default_value_t = Options::default().max_new_tokens)]
    pub(crate) max_new_tokens: usize,
    /// Draw tokens at this temperature, instead of always taking the most probable
    #[arg(long, value_name = "T")]
    pub(crate) temperature: Option<f32>,
    /// Draw from the N most probable tokens only
    #[arg(long, value_name = "N")]
    pub(crate) top_k: Option<usize>,
    /// Draw from the most probable tokens that together have this probability
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f32>,
    /// Draw by this seed: the same seed gives the same answer
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// How results are shown.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct JsonArgs {
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        LowArgs::command().debug_assert();
    }
}
