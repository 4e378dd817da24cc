//! A query being answered: pictures read, model opened, time taken.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use paligemma::image::RgbImage;
use paligemma::{Answer, Options, PaliGemma, Request, Scene};
use paligemma_processor::{TokenizerError, open_picture};

use crate::args::ModelArgs;
use crate::error::Error;

/// A prompt about pictures, and the model it is for.
#[derive(Debug)]
pub(crate) struct Query {
    pictures: Vec<PathBuf>,
    prompt: String,
    model: ModelArgs,
}

impl Query {
    /// Refuses what can be seen to fail before any work.
    pub(crate) fn new(
        pictures: Vec<PathBuf>,
        prompt: String,
        model: ModelArgs,
    ) -> Result<Self, Error> {
        if prompt.trim().is_empty() {
            return Err(paligemma::Error::from(TokenizerError::EmptyPrompt).into());
        }
        model.begin()?;
        Ok(Self { pictures, prompt, model })
    }

    fn read(&self) -> Result<Vec<RgbImage>, Error> {
        let read = |path: &PathBuf| open_picture(path).map_err(paligemma::Error::from);
        Ok(self.pictures.iter().map(read).collect::<Result<_, _>>()?)
    }
}

/// A model that has seen the pictures of a query.
pub(crate) struct Session {
    pub(crate) model: PaliGemma,
    pub(crate) pictures: Vec<RgbImage>,
    pub(crate) scene: Scene,
    pub(crate) prompt: String,
    load: Duration,
    encode: Duration,
}

/// How long things took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timings {
    /// Opening the model.
    pub(crate) load: Duration,
    /// The pictures' way through the vision tower.
    pub(crate) encode: Duration,
    /// From the prompt to the first text.
    pub(crate) first_token: Duration,
    /// All of it.
    pub(crate) total: Duration,
    /// The pace after the first text; none if nothing came after it.
    pub(crate) tokens_per_second: Option<f64>,
}

impl Session {
    /// Reads the pictures, which is quick, before it opens the model.
    pub(crate) fn open(query: Query) -> Result<Self, Error> {
        let pictures = query.read()?;
        Self::complete(query, Ok, |_| Ok(pictures))
    }

    /// The same with a model that can make masks, by the VQ-VAE in a file if one is named.
    pub(crate) fn open_with_masks(query: Query, masks: Option<&Path>) -> Result<Self, Error> {
        let pictures = query.read()?;
        let with_masks = |model: PaliGemma| {
            let model = match masks {
                Some(path) => model.with_masks(path)?,
                None => model,
            };
            if model.has_masks() { Ok(model) } else { Err(paligemma::Error::NoMasks.into()) }
        };
        Self::complete(query, with_masks, |_| Ok(pictures))
    }

    /// Opens the model before there are pictures, which it may refuse.
    pub(crate) fn open_with(
        query: Query,
        pictures: impl FnOnce(&PaliGemma) -> Result<Vec<RgbImage>, Error>,
    ) -> Result<Self, Error> {
        Self::complete(query, Ok, pictures)
    }

    fn complete(
        query: Query,
        prepare: impl FnOnce(PaliGemma) -> Result<PaliGemma, Error>,
        pictures: impl FnOnce(&PaliGemma) -> Result<Vec<RgbImage>, Error>,
    ) -> Result<Self, Error> {
        let place = query.model.locate()?;
        let start = Instant::now();
        let model = prepare(query.model.open(&place)?)?;
        let load = start.elapsed();
        let pictures = pictures(&model)?;
        model.check_room(&query.prompt, pictures.len())?;
        let start = Instant::now();
        let scene = model.encode(&pictures);
        let encode = start.elapsed();
        Ok(Self { model, pictures, scene, prompt: query.prompt, load, encode })
    }

    /// What is asked, with these options.
    pub(crate) fn request(&self, options: Options) -> Request {
        let (scene, prompt) = (self.scene.clone(), self.prompt.clone());
        Request { scene, prompt, options, constraint: None }
    }

    /// Makes the answer; `show` gets every piece of it as soon as it is there.
    pub(crate) fn answer(
        &self,
        request: &Request,
        mut show: impl FnMut(&str) -> Result<(), Error>,
    ) -> Result<(Answer, Timings), Error> {
        let start = Instant::now();
        let mut first = None;
        let answer = if request.options.num_beams > 1 {
            let answer = self.model.generate(request)?;
            first.get_or_insert_with(|| start.elapsed());
            show(&answer.text)?;
            answer
        } else {
            let mut stream = self.model.stream(request)?;
            for piece in stream.by_ref() {
                first.get_or_insert_with(|| start.elapsed());
                show(&piece?)?;
            }
            stream.finish()?
        };
        let tokens = answer.token_ids.len();
        Ok((answer, self.timings(start.elapsed(), first, tokens)))
    }

    /// Makes several answers, best first.
    pub(crate) fn answers(
        &self,
        request: &Request,
        count: usize,
    ) -> Result<(Vec<Answer>, Timings), Error> {
        let start = Instant::now();
        let answers = self.model.answers(request, count)?;
        Ok((answers, self.timings(start.elapsed(), None, 0)))
    }

    /// What was timed, with `tokens` made in `whole`, the first of them shown after `first`.
    fn timings(&self, whole: Duration, first: Option<Duration>, tokens: usize) -> Timings {
        let first_token = first.unwrap_or(whole);
        let more = tokens.saturating_sub(1);
        let pace = more as f64 / whole.saturating_sub(first_token).as_secs_f64();
        Timings {
            load: self.load,
            encode: self.encode,
            first_token,
            total: self.load + self.encode + whole,
            tokens_per_second: (more > 0 && pace.is_finite()).then_some(pace),
        }
    }
}
