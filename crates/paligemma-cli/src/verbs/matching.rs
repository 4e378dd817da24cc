//! `match` and `rank`: how much likelier pictures make texts.

use std::path::PathBuf;

use clap::Args;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
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
        let pairs = pairs(&[self.image], &[self.text], &self.model)?;
        if self.json.json {
            // One picture and one text make one pair.
            return pairs.iter().try_for_each(|pair| output::json(&wire::Match::new(pair)));
        }
        show(&pairs)
    }
}

impl Rank {
    /// Every text held against every picture, the best match first.
    pub(crate) fn run(self) -> Result<(), Error> {
        let mut pairs = pairs(&self.images, &self.texts, &self.model)?;
        pairs.sort_by(|(_, a), (_, b)| b.score().total_cmp(&a.score()));
        if self.json.json {
            return output::json(&wire::Matches::new(&pairs));
        }
        show(&pairs)
    }
}

fn pairs(images: &[PathBuf], texts: &[String], model: &ModelArgs) -> Result<Vec<Pair>, Error> {
    let model = pictures::open_model(images, model)?;
    let matcher = model.matcher(texts)?;
    let mut pairs = Vec::with_capacity(images.len() * texts.len());
    for path in images {
        let matches = matcher.matches(&pictures::encode(&model, path)?)?;
        pairs.extend(matches.into_iter().map(|found| (pictures::name(path), found)));
    }
    Ok(pairs)
}

fn show(pairs: &[Pair]) -> Result<(), Error> {
    let head = ["score", "with picture", "without", "text", "picture"].map(str::to_owned);
    let row = |(picture, found): &Pair| {
        [
            format!("{:.3}", found.score()),
            format!("{:.3}", found.log_likelihood),
            format!("{:.3}", found.prior),
            found.text.clone(),
            picture.clone(),
        ]
    };
    output::table(&std::iter::once(head).chain(pairs.iter().map(row)).collect::<Vec<_>>())
}
