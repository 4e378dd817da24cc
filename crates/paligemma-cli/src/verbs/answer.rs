//! `caption`, `ask`, `ocr` and `generate`: text as it is made, or one object.

use std::path::PathBuf;

use clap::Args;
use paligemma::Request;
use paligemma::tasks::{CaptionStyle, OCR_PROMPT, question_prompt};

use crate::args::{AnswerArgs, ModelArgs, Several, SeveralArgs};
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
    /// caption, for a short sentence; of pretrained checkpoints also cap, raw and short, and describe,
    /// longer
    #[arg(long, default_value = "caption")]
    style: CaptionStyle,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
    #[command(flatten)]
    several: SeveralArgs,
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
    #[command(flatten)]
    several: SeveralArgs,
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
    #[command(flatten)]
    several: SeveralArgs,
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
    #[command(flatten)]
    several: SeveralArgs,
}

impl Caption {
    pub(crate) fn run(self) -> Result<(), Error> {
        let query = Query::new(vec![self.image], self.style.prompt(&self.lang), self.model)?;
        answer(query, &self.answer, &self.several)
    }
}

impl Ask {
    pub(crate) fn run(self) -> Result<(), Error> {
        if self.question.trim().is_empty() {
            return Err(Error::EmptyQuestion);
        }
        let prompt = question_prompt(&self.lang, &self.question);
        answer(Query::new(vec![self.image], prompt, self.model)?, &self.answer, &self.several)
    }
}

impl Ocr {
    pub(crate) fn run(self) -> Result<(), Error> {
        let query = Query::new(vec![self.image], OCR_PROMPT.to_owned(), self.model)?;
        answer(query, &self.answer, &self.several)
    }
}

impl Generate {
    pub(crate) fn run(self) -> Result<(), Error> {
        answer(Query::new(self.images, self.prompt, self.model)?, &self.answer, &self.several)
    }
}

fn answer(query: Query, args: &AnswerArgs, several: &SeveralArgs) -> Result<(), Error> {
    let Several { options, made, shown } = args.several(several)?;
    let session = Session::open(query)?;
    let request = session.request(options);
    if made > 1 {
        let (mut answers, timings) = session.answers(&request, made)?;
        return match (shown, args.json.json) {
            (1, true) => output::json(&wire::Answer::new(&answers.swap_remove(0), timings)),
            (1, false) => output::text(&format!("{}\n", answers[0].text)),
            (_, true) => output::json(&wire::Answers::new(&answers, timings)),
            (_, false) => show_all(&answers),
        };
    }
    if args.json.json {
        let (answer, timings) = session.answer(&request, |_| Ok(()))?;
        return output::json(&wire::Answer::new(&answer, timings));
    }
    print(&session, &request)
}

/// Prints an answer as it is made.
pub(super) fn print(session: &Session, request: &Request) -> Result<(), Error> {
    let mut begun = false;
    let made = session.answer(request, |piece| {
        begun = true;
        output::text(piece)
    });
    // What has been written of an answer that fails stands on its own line too.
    if begun || made.is_ok() {
        output::text("\n")?;
    }
    made.map(drop)
}

fn show_all(answers: &[paligemma::Answer]) -> Result<(), Error> {
    let mut rows = vec![["probability", "mean", "answer"].map(str::to_owned)];
    rows.extend(answers.iter().map(|answer| {
        let (probability, mean) = (answer.probability(), answer.mean());
        // An answer of several lines stays one row.
        let text = answer.text.split_whitespace().collect::<Vec<_>>().join(" ");
        [format!("{probability:.4}"), format!("{mean:.3}"), text]
    }));
    output::table(&rows)
}
