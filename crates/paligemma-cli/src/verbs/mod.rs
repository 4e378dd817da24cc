//! The verbs: what each takes, and where it is done.

mod answer;
mod batch;
mod classify;
mod convert;
mod detect;
mod devices;
mod embed;
mod eval;
mod export;
mod finetune;
mod import;
mod info;
mod matching;
mod pages;
mod presets;
mod score;
mod search;
mod segment;
mod verify;
mod watch;

use clap::Subcommand;

use crate::error::Error;

pub(crate) use eval::Measured;
pub(crate) use info::{Info, Weights};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Describe a picture
    Caption(answer::Caption),
    /// Answer a question about a picture
    Ask(answer::Ask),
    /// Read the text in a picture
    Ocr(answer::Ocr),
    /// Answer a prompt as it is, about one or more pictures
    Generate(answer::Generate),
    /// Find things in a picture: a line `label confidence x0 y0 x1 y1` in pixels for each
    Detect(detect::Detect),
    /// Cut things out of a picture: a line `label confidence x0 y0 x1 y1 area` in pixels for each
    Segment(segment::Segment),
    /// Say how probable given answers are
    Score(score::Score),
    /// Say which of the given labels fits a picture best
    Classify(classify::Classify),
    /// Say how much likelier a picture makes a text
    Match(matching::Match),
    /// Order pictures for a text, or texts for a picture, the best match first
    Rank(matching::Rank),
    /// Give a vector for each picture, near for pictures that look alike
    Embed(embed::Embed),
    /// Keep a folder of pictures for searches
    Index(search::IndexVerb),
    /// Find pictures that were indexed, by a picture or by a text
    Search(search::Search),
    /// Order pictures of pages by how well they answer a query, with a ColPali
    Pages(pages::Pages),
    /// Answer a prompt about frames of a clip
    Watch(watch::Watch),
    /// Answer a prompt about many pictures, with the results in a file
    Batch(batch::Batch),
    /// Make examples to train on, as JSON lines, of data that other programs keep
    Import(import::Import),
    /// Train a model on data of your own
    Finetune(finetune::Finetune),
    /// Show the published recipe of each task
    Presets(presets::Presets),
    /// Say how well a model answers data
    Eval(eval::Eval),
    /// Write a model in a smaller format that a CPU computes with, and that opens at once
    Convert(convert::Convert),
    /// Write a model in the published form, an adapter added to its weights, or an adapter alone
    Export(export::Export),
    /// Say what a model is: configuration, tensors, size, tokenizer, and what is wrong with it
    Info(info::InfoVerb),
    /// Say whether a model will answer as its authors meant: every file, every number, a picture
    Verify(verify::Verify),
    /// Say what this build can run on, on this machine
    Devices(devices::Devices),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(self) -> Result<(), Error> {
        match self {
            Self::Caption(verb) => verb.run(),
            Self::Ask(verb) => verb.run(),
            Self::Ocr(verb) => verb.run(),
            Self::Generate(verb) => verb.run(),
            Self::Detect(verb) => verb.run(),
            Self::Segment(verb) => verb.run(),
            Self::Score(verb) => verb.run(),
            Self::Classify(verb) => verb.run(),
            Self::Match(verb) => verb.run(),
            Self::Rank(verb) => verb.run(),
            Self::Embed(verb) => verb.run(),
            Self::Index(verb) => verb.run(),
            Self::Search(verb) => verb.run(),
            Self::Pages(verb) => verb.run(),
            Self::Watch(verb) => verb.run(),
            Self::Batch(verb) => verb.run(),
            Self::Import(verb) => verb.run(),
            Self::Finetune(verb) => verb.run(),
            Self::Presets(verb) => verb.run(),
            Self::Eval(verb) => verb.run(),
            Self::Convert(verb) => verb.run(),
            Self::Export(verb) => verb.run(),
            Self::Info(verb) => verb.run(),
            Self::Verify(verb) => verb.run(),
            Self::Devices(verb) => verb.run(),
        }
    }
}
