//! `match` and `rank`: how much likelier pictures make texts.

use std::path::PathBuf;

use clap::Args;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
use crate::pictures::Outcome;
use crate::{output, pictures, wire};

/// A text to hold against a picture.
#[derive(Args, Debug)]
pub(crate) struct Match {
    /// The picture
    image: PathBuf,
    /// The text, as a caption would say it
    text: String,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// Texts and pictures to hold against each other.
#[derive(Args, Debug)]
pub(crate) struct Rank {
    /// The pictures
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// A text, as a caption would say it; may be given many times
    #[arg(long = "text", required = true, value_name = "TEXT")]
    texts: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// A picture's name, and a text held against it.
type Pair = (String, paligemma::Match);

impl Match {
    /// Holds the text against the picture.
    pub(crate) fn run(self) -> Result<(), Error> {
        let model = pictures::open_model(std::slice::from_ref(&self.image), &self.model)?;
        let found = model.match_text(&pictures::encode(&model, &self.image)?, &self.text)?;
        let pair = (pictures::name(&self.image), found);
        if self.json.json {
            return output::json(&wire::Match::new(&pair));
        }
        show(&[pair])
    }
}

impl Rank {
    /// Every text held against every picture that can be read, the best match first.
    pub(crate) fn run(self) -> Result<(), Error> {
        let model = pictures::open_model(&self.images, &self.model)?;
        let matcher = model.matcher(&self.texts)?;
        let all = pictures::each(&self.images, |path| {
            Ok(matcher.matches(&pictures::encode(&model, path)?)?)
        })?;
        let of = |(picture, found): &Outcome<Vec<paligemma::Match>>| {
            let found = found.iter().flatten().cloned();
            found.map(|found| (picture.clone(), found)).collect::<Vec<Pair>>()
        };
        let mut pairs: Vec<Pair> = all.iter().flat_map(of).collect();
        pairs.sort_by(|(_, a), (_, b)| b.score().total_cmp(&a.score()));
        if self.json.json {
            output::json(&wire::Matches::new(&pairs, &all))?;
        } else {
            show(&pairs)?;
        }
        pictures::conclude(&all)
    }
}

fn show(pairs: &[Pair]) -> Result<(), Error> {
    let row = |(picture, found): &Pair| {
        [
            format!("{:.3}", found.score()),
            format!("{:.3}", found.log_likelihood),
            format!("{:.3}", found.prior),
            found.text.clone(),
            picture.clone(),
        ]
    };
    let head = ["score", "with picture", "without", "text", "picture"];
    output::table_of(head, pairs.iter().map(row))
}
