//! `paligemma`: PaliGemma in a shell.
//!
//! ```text
//! paligemma caption photo.jpg
//! paligemma ask photo.jpg "how many cats are there?"
//! paligemma ocr page.png
//! paligemma generate a.png b.png --prompt "answer en what changed?"
//! paligemma detect street.jpg "car ; person" --out boxes.png
//! paligemma segment street.jpg "car ; person" --out masks.png --masks folder
//! paligemma score photo.jpg --prompt "answer en is it day?" --candidate yes --candidate no
//! paligemma classify photo.jpg --label cat --label dog
//! paligemma match photo.jpg "a cat on a sofa"
//! paligemma rank --text "a cat on a sofa" a.png b.png
//! paligemma embed a.png b.png --out vectors.npy
//! paligemma index photos --out photos.index
//! paligemma search photos.index --text "a cat on a sofa"
//! paligemma pages a.png b.png --text "the balance of 2023" --model COLPALI
//! paligemma watch clip.mp4 "caption en" --frames 16
//! paligemma batch photos --prompt "caption en" --out results.jsonl
//! paligemma import coco annotations.json --images photos --out train.jsonl
//! paligemma presets vqav2
//! paligemma finetune --data train.jsonl --eval val.jsonl --preset vqav2 --lora 8 --out run
//! paligemma eval --model DIR --data test.jsonl --metric vqa --out scores
//! paligemma convert --model DIR --dtype int8 --out SMALLER
//! paligemma export --model RUN --merge --out MERGED
//! paligemma info --model DIR
//! paligemma verify --model DIR
//! paligemma devices
//! ```
//!
//! Every verb has a file in [`verbs`], with what is typed and what it does; [`args`] is what verbs
//! share, and [`wire`] what `--json` prints. Whatever cannot be done is one line on the standard
//! error and status 1 (of data a line for each fault; of several pictures one for each that cannot be
//! read, and the others are answered), a command line that cannot be read is status 2.

mod args;
mod bar;
mod error;
mod files;
mod film;
mod interrupt;
mod model;
mod output;
mod pictures;
mod session;
mod vectors;
mod verbs;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use paligemma::Isa;

use crate::error::Error;
use crate::verbs::Verb;

/// PaliGemma in a shell: captions, answers, boxes and scores for pictures
#[derive(Debug, Parser)]
#[command(name = "paligemma", version)]
struct Paligemma {
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    paligemma::keep_freed_memory();
    let verb = Paligemma::parse().verb;
    match Isa::asked().map_err(Error::Isa).and_then(|_| verb.run()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error @ Error::Reported) => error.status(),
        Err(error) => {
            // Where the standard error is closed too, only the status is left to speak.
            writeln!(std::io::stderr(), "error: {}", error.line()).ok();
            error.status()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Paligemma::command().debug_assert();
    }
}
