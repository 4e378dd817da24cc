//! `caption`, `ask`, `ocr` and `generate`: text as it is made, or one object.

use std::path::PathBuf;

use clap::Args;
use paligemma::Options;
use paligemma::tasks::{OCR_PROMPT, caption_prompt, question_prompt};

use crate::args::{AnswerArgs, ModelArgs};
use crate::error::Error;
use crate::session::{Query, Session};
use crate::{output, wire};

/// A picture to describe.
#[derive(Args, Debug)]
pub(crate) struct Caption {
    /// The picture: PNG, JPEG, WebP, GIF, BMP or TIFF
    image: PathBuf,
    /// The language of the caption
    #[arg(long, default_value = "en")]
    lang: String,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
}

/// A question about a picture.
#[derive(Args, Debug)]
pub(crate) struct Ask {
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
}

/// A picture to read.
#[derive(Args, Debug)]
pub(crate) struct Ocr {
    /// The picture
    image: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
}

/// A prompt as it is, about pictures.
#[derive(Args, Debug)]
pub(crate) struct Generate {
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
}

impl Caption {
    pub(crate) fn run(self) -> Result<(), Error> {
        let query = Query::new(vec![self.image], caption_prompt(&self.lang), self.model)?;
        answer(query, &self.answer)
    }
}

impl Ask {
    pub(crate) fn run(self) -> Result<(), Error> {
        if self.question.trim().is_empty() {
            return Err(Error::EmptyQuestion);
        }
        let prompt = question_prompt(&self.lang, &self.question);
        answer(Query::new(vec![self.image], prompt, self.model)?, &self.answer)
    }
}

impl Ocr {
    pub(crate) fn run(self) -> Result<(), Error> {
        let query = Query::new(vec![self.image], OCR_PROMPT.to_owned(), self.model)?;
        answer(query, &self.answer)
    }
}

impl Generate {
    pub(crate) fn run(self) -> Result<(), Error> {
        answer(Query::new(self.images, self.prompt, self.model)?, &self.answer)
    }
}

fn answer(query: Query, args: &AnswerArgs) -> Result<(), Error> {
    let options = args.options()?;
    let session = Session::open(query)?;
    if args.json.json {
        let (answer, timings) = session.answer(options, |_| Ok(()))?;
        return output::json(&wire::Answer::new(&answer, timings));
    }
    print(&session, options)
}

/// Prints an answer as it is made.
pub(super) fn print(session: &Session, options: Options) -> Result<(), Error> {
    let mut begun = false;
    let made = session.answer(options, |piece| {
        begun = true;
        output::text(piece)
    });
    // What has been written of an answer that fails stands on its own line too.
    if begun || made.is_ok() {
        output::text("\n")?;
    }
    made.map(drop)
}
