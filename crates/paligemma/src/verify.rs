//! `verify`: whether a model will answer as its authors meant, one check after another.

use paligemma_checkpoint::{
    AdapterFile, Checkpoint, GENERATION, LoadReport, NotFinite, PREPROCESSOR, PaliGemmaConfig,
    Progress, generation_faults, preprocessor_faults,
};
use paligemma_processor::Tokenizer;
use paligemma_processor::image::{Rgb, RgbImage};

use crate::{
    Architecture, DeviceSpec, Dtype, Error, Options, PaliGemma, Place, Request, Retriever, fit,
    tasks,
};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be.
    Passed,
    /// There is nothing to check, and nothing against the model.
    Open,
    /// The model will not answer as it was meant to.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
}

/// What is to be thought of a model.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Every check, in the order in which they were made.
    pub checks: Vec<Check>,
    /// What tells the weights from others ([`Place::fingerprint`]).
    pub fingerprint: Option<String>,
}

/// The vocabulary of every published model: its image token, and what it says of others
/// (big_vision, README of `paligemma`).
const PUBLISHED_IMAGE: u32 = 257_152;
const PUBLISHED: [(&str, u32); 3] =
    [("a newline", 108), ("<loc0000>", 256_000), ("<seg000>", 257_024)];

/// Tokens of the answer to the test picture.
const ANSWER: usize = 16;

impl Verdict {
    /// Whether no check failed.
    pub fn is_sound(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.outcome == Outcome::Failed)
    }

    fn add(&mut self, name: &'static str, outcome: Outcome, found: impl Into<String>) {
        self.checks.push(Check { name, outcome, found: found.into() });
    }

    /// Adds a check that gives something, or an error.
    fn keep<T>(
        &mut self,
        name: &'static str,
        result: Result<T, impl Into<Error>>,
        found: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.add(name, Outcome::Passed, found(&value));
                Some(value)
            }
            Err(error) => {
                self.add(name, Outcome::Failed, error.into().to_string());
                None
            }
        }
    }

    /// Adds a check of a file that says what is wrong with it, if there is one.
    fn file(
        &mut self,
        name: &'static str,
        file: Option<Vec<u8>>,
        faults: impl Fn(&[u8]) -> Vec<String>,
    ) {
        let Some(file) = file else {
            return self.add(name, Outcome::Open, "absent, what published models say is taken");
        };
        let faults = faults(&file);
        if faults.is_empty() {
            self.add(name, Outcome::Passed, "as this program does it");
        } else {
            self.add(name, Outcome::Failed, faults.join("; "));
        }
    }
}

/// Looks at everything that decides a model's answers: its configuration, the names, shapes and
/// numbers of its weights and of its adapter, the ids of its tokens, the settings beside them, and
/// what it makes of a test picture. A ColPali makes vectors of it.
///
/// Every number is read. `progress` is told of every tensor, and again as the model is opened.
pub fn verify(
    place: &Place,
    device: DeviceSpec,
    dtype: Dtype,
    mut progress: impl FnMut(Progress<'_>),
) -> Verdict {
    let mut verdict = Verdict::default();
    let architecture = verdict.keep("configuration", place.architecture(), size);
    let checkpoint = match place.checkpoint() {
        Ok(checkpoint) => Some(checkpoint),
        Err(error) => {
            verdict.add("weights", Outcome::Failed, Error::from(error).to_string());
            None
        }
    };
    if let Some(checkpoint) = &checkpoint {
        verdict.fingerprint = Some(place.fingerprint(checkpoint));
        verdict.weights(architecture.as_ref(), checkpoint, place.adapter(), &mut progress);
    }
    if let Some(architecture) = &architecture {
        verdict.settings(place, architecture.vlm());
    }
    match architecture.filter(|_| verdict.is_sound()) {
        Some(Architecture::PaliGemma(_)) => {
            let opened = PaliGemma::open_place(place, device, dtype, progress);
            let answer = opened.and_then(|model| answer(&model));
            verdict.keep("self-test", answer, |text| format!("a red disc is captioned {text:?}"));
        }
        Some(Architecture::ColPali(_)) => {
            let opened = Retriever::open(place, device, dtype, progress);
            let vectors = opened.and_then(|model| vectors(&model));
            verdict.keep("self-test", vectors, |count| format!("a page has {count} vectors"));
        }
        None => verdict.add("self-test", Outcome::Open, "not done, for what is wrong above"),
    }
    verdict
}

impl Verdict {
    fn weights(
        &mut self,
        architecture: Option<&Architecture>,
        checkpoint: &Checkpoint,
        adapter: Option<&AdapterFile>,
        progress: impl FnMut(Progress<'_>),
    ) {
        if let Some(fits) = architecture.map(|architecture| fit(architecture, Some(checkpoint))) {
            let report = fits.map_err(Error::from).and_then(|fit| match fit.weights {
                Some(weights) => weights.map_err(Error::from),
                None => Ok(LoadReport::default()),
            });
            self.keep("weights", report, |report| {
                let LoadReport { tensors, parameters, layout, .. } = report;
                format!("{tensors} tensors, {parameters} numbers, names as {layout}")
            });
        }
        let mut not_finite = checkpoint.not_finite(progress);
        not_finite.extend(adapter.map(AdapterFile::not_finite).unwrap_or_default());
        match &*not_finite {
            [] if checkpoint.packed_format().is_some() => {
                self.add("numbers", Outcome::Passed, "finite, as far as they are not packed");
            }
            [] => self.add("numbers", Outcome::Passed, "all finite"),
            [NotFinite { file_name, count }, others @ ..] => {
                let others = match others.len() {
                    0 => String::new(),
                    more => format!(" (and {more} more tensors)"),
                };
                let found = format!("{count} of `{file_name}` are not finite{others}");
                self.add("numbers", Outcome::Failed, found);
            }
        }
    }

    fn settings(&mut self, place: &Place, config: &PaliGemmaConfig) {
        let tokenizer = place.tokenizer(config).map_err(Error::from);
        let tokenizer = tokenizer.and_then(|tokenizer| {
            PaliGemma::check_tokenizer(config, &tokenizer).map(|()| tokenizer)
        });
        match tokenizer.map(|tokenizer| (misplaced(config, &tokenizer), tokenizer.vocab_size())) {
            Ok((None, tokens)) => {
                self.add("tokenizer", Outcome::Passed, format!("{tokens} tokens, ids as expected"));
            }
            Ok((Some(fault), _)) => self.add("tokenizer", Outcome::Failed, fault),
            Err(error) => self.add("tokenizer", Outcome::Failed, error.to_string()),
        }
        for (name, file, faults) in [
            ("pictures", PREPROCESSOR, preprocessor_faults as fn(&[u8], &_) -> _),
            ("generation", GENERATION, generation_faults),
        ] {
            match place.read(file) {
                Ok(contents) => self.file(name, contents, |contents| faults(contents, config)),
                Err(error) => self.add(name, Outcome::Failed, error.to_string()),
            }
        }
    }
}

/// Which model a configuration is of.
fn size(architecture: &Architecture) -> String {
    let config = architecture.vlm();
    let head = if let Architecture::ColPali(_) = architecture { "ColPali on " } else { "" };
    let side = config.vision.image_size;
    let first = [("PaliGemma 3B", PaliGemmaConfig::published_3b(side))];
    let names = ["PaliGemma 2 3B", "PaliGemma 2 10B", "PaliGemma 2 28B"];
    let second = names.into_iter().zip(PaliGemmaConfig::published_2(side));
    let known = first.into_iter().chain(second).find(|(_, published)| published == config);
    known.map_or_else(
        || format!("{head}sizes of its own, {side} pixels"),
        |(name, _)| format!("{head}{name} at {side} pixels, as published"),
    )
}

/// The first token whose id is not what the configuration, or the published vocabulary, says.
fn misplaced(config: &PaliGemmaConfig, tokenizer: &Tokenizer) -> Option<String> {
    let special = tokenizer.special();
    let mut ids = vec![
        ("<bos>", config.bos_token_id, special.bos),
        ("<pad>", config.pad_token_id, special.pad),
    ];
    if config.image_token_index == PUBLISHED_IMAGE {
        let found = [special.newline, tokenizer.loc(0), tokenizer.seg(0)];
        let known = PUBLISHED.into_iter().zip(found);
        ids.extend(known.map(|((name, expected), found)| (name, expected, found)));
    }
    let wrong = ids.into_iter().find(|(_, expected, found)| expected != found);
    wrong.map(|(name, expected, found)| format!("{name} is token {found}, expected {expected}"))
}

/// A red disc on grey, of a size that the embedded model knows, and the grey alone.
fn pictures() -> [RgbImage; 2] {
    let grey = RgbImage::from_pixel(64, 64, Rgb([128; 3]));
    let disc = RgbImage::from_fn(64, 64, |x, y| {
        let inside = x.abs_diff(32).pow(2) + y.abs_diff(32).pow(2) < 13 * 13;
        Rgb(if inside { [220, 30, 40] } else { [128; 3] })
    });
    [disc, grey]
}

/// How many vectors a ColPali makes of a picture, if it sees pictures at all.
fn vectors(model: &Retriever) -> Result<usize, Error> {
    let [disc, grey] = pictures();
    let [disc, grey] = [model.page(&disc)?, model.page(&grey)?];
    if disc == grey { Err(Error::Blind) } else { Ok(disc.values.len() / disc.width) }
}

/// What the model says of a picture, if it sees pictures at all.
fn answer(model: &PaliGemma) -> Result<String, Error> {
    let mut seen = model.encode_each(&pictures())?;
    if seen[0].embedding == seen[1].embedding {
        return Err(Error::Blind);
    }
    let scene = seen.swap_remove(0).scene;
    let options = Options { max_new_tokens: ANSWER, ..Options::default() };
    let request = Request { scene, prompt: tasks::caption_prompt("en"), options, constraint: None };
    Ok(model.generate(&request)?.text)
}
