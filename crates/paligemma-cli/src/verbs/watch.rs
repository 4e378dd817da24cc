//! `watch`: an answer about frames of a clip.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use paligemma::PaliGemma;
use paligemma_processor::FrameChoice;

use crate::args::{AnswerArgs, ModelArgs};
use crate::error::Error;
use crate::film::Film;
use crate::session::{Query, Session};
use crate::verbs::answer;
use crate::{output, wire};

/// A clip to look at.
#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// A folder of frames, an animated GIF, WebP or PNG, or a video if ffmpeg is installed
    clip: PathBuf,
    /// The prompt as the model was trained on it, such as "caption en"
    prompt: String,
    /// How many frames to look at; 16, or all of a shorter clip, if not given
    #[arg(long, value_name = "N")]
    frames: Option<NonZeroUsize>,
    /// Look at every Nth frame from the first on, instead of evenly over the whole clip
    #[arg(long, value_name = "N")]
    stride: Option<NonZeroUsize>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
}

impl Watch {
    /// The frames are counted before the model is opened, and read when they are known to fit it.
    pub(crate) fn run(self) -> Result<(), Error> {
        let options = self.answer.options()?;
        let query = Query::new(Vec::new(), self.prompt.clone(), self.model)?;
        let film = Film::open(&self.clip)?;
        let choice = FrameChoice {
            count: self.frames.map(NonZeroUsize::get),
            stride: self.stride.map(NonZeroUsize::get),
        };
        let places = choice.of(film.frames())?;
        let session = Session::open_with(query, |model| {
            check_room(model, &self.prompt, places.len())?;
            film.read(&places)
        })?;
        let request = session.request(options);
        if self.answer.json.json {
            let (answer, timings) = session.answer(&request, |_| Ok(()))?;
            return output::json(&wire::Watched::new(&answer, timings, &places));
        }
        answer::print(&session, &request)
    }
}

/// Refuses more frames than the model has positions for, and says how many there may be.
fn check_room(model: &PaliGemma, prompt: &str, frames: usize) -> Result<(), Error> {
    let text = model.tokenizer().encode_prompt(prompt, 0, 0).map_err(paligemma::Error::from)?;
    let limit = model.config().text.max_position_embeddings;
    let each = model.config().vision.num_patches();
    let tokens = frames * each + text.len();
    // One position is left for the answer.
    let fit = limit.saturating_sub(text.len() + 1) / each;
    if frames <= fit {
        Ok(())
    } else if fit == 0 {
        Err(paligemma::Error::PromptTooLong { tokens, limit }.into())
    } else {
        Err(Error::TooManyFrames { frames, tokens, limit, fit })
    }
}
