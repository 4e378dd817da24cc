//! Answers beside what was expected, as the metric compares them: text, regions, or all things.

use paligemma::{Answer, Bitmap, DetectedBox, PaliGemma, tasks};
use paligemma_data::Example;
use paligemma_metrics::{
    Detection as Found, Examples, Kind, Mask, Metric, Picture, Rect, Referred, Region, Report,
    Text, Truth,
};
use paligemma_processor::{Detection, parse_detections, picture_size};

use crate::error::Error;

/// What is expected of every row, as far as it can be read without the model.
pub(super) struct References {
    metric: Metric,
    /// The things in each row's suffix; none where text is compared.
    things: Vec<Vec<Detection>>,
}

/// Width and height of a picture in pixels.
type Size = (u32, u32);

impl References {
    /// Reads the expected boxes, and refuses data that the metric does not suit.
    pub(super) fn of(metric: Metric, examples: &[Example]) -> Result<Self, Error> {
        if metric.kind() == Kind::Texts {
            let expected: Vec<Text> = examples.iter().map(|example| text(example, "")).collect();
            metric.check(&Examples::Texts(&expected))?;
            return Ok(Self { metric, things: Vec::new() });
        }
        let masks = metric == Metric::MeanIou;
        let needs = if masks { "masks" } else { "boxes with labels" };
        let mut things = Vec::with_capacity(examples.len());
        for (line, example) in (1..).zip(examples) {
            let mut found = parse_detections(&example.suffix);
            found.retain(|thing| !masks || thing.codes.is_some());
            if found.is_empty() && (metric.kind() == Kind::Regions || has_location(example)) {
                let found = example.suffix.clone();
                return Err(Error::NoRegion { metric, needs, line, found });
            }
            things.push(found);
        }
        if let Some(example) = examples.first().filter(|_| things.iter().all(Vec::is_empty)) {
            let found = example.suffix.clone();
            return Err(Error::NoRegion { metric, needs, line: 1, found });
        }
        Ok(Self { metric, things })
    }

    /// Scores the answers.
    pub(super) fn score(
        &self,
        model: &PaliGemma,
        examples: &[Example],
        answers: &[Answer],
    ) -> Result<Report, Error> {
        let answered = examples.iter().zip(answers);
        let metric = self.metric;
        Ok(match metric.kind() {
            Kind::Texts => {
                let texts: Vec<Text> =
                    answered.map(|(example, answer)| text(example, &answer.text)).collect();
                metric.score(&Examples::Texts(&texts))?
            }
            Kind::Regions => {
                let regions: Result<Vec<Referred>, Error> = answered
                    .zip(&self.things)
                    .map(|((example, answer), things)| {
                        self.referred(model, size(example)?, things, answer)
                    })
                    .collect();
                metric.score(&Examples::Regions(&regions?))?
            }
            Kind::Pictures => {
                let pictures: Result<Vec<Picture>, Error> = answered
                    .zip(&self.things)
                    .map(|((example, answer), things)| {
                        Ok(picture(model, size(example)?, things, answer))
                    })
                    .collect();
                metric.score(&Examples::Pictures(&pictures?))?
            }
        })
    }

    /// The first thing of the suffix and the first of the answer.
    fn referred(
        &self,
        model: &PaliGemma,
        size: Size,
        expected: &[Detection],
        answer: &Answer,
    ) -> Result<Referred, Error> {
        let region = |thing: &Detection| -> Result<Region, Error> {
            let rect = Rect::from_edges(edges(thing, size));
            let mask = match self.metric {
                Metric::MeanIou => {
                    model.bitmaps(std::slice::from_ref(thing), size)?.pop().flatten()
                }
                _ => None,
            };
            Ok(Region { rect, mask: mask.as_ref().map(pixels).transpose()? })
        };
        let found = parse_detections(&answer.text);
        // References::of refuses rows that expect nothing.
        Ok(Referred {
            prediction: found.first().map(region).transpose()?,
            reference: region(&expected[0])?,
        })
    }
}

/// Whether there are tokens of a location, well formed or not.
fn has_location(example: &Example) -> bool {
    example.suffix.contains("<loc")
}

fn text(example: &Example, prediction: &str) -> Text {
    Text { prediction: prediction.to_owned(), references: example.references.clone() }
}

/// Width and height of a row's first picture, which answers are about.
fn size(example: &Example) -> Result<Size, Error> {
    // Data has a picture in every row.
    Ok(picture_size(&example.images[0]).map_err(paligemma::Error::from)?)
}

/// The edges in pixels, x0, y0, x1, y1.
fn edges(thing: &Detection, (width, height): Size) -> [f64; 4] {
    let (across, down) = (f64::from(width), f64::from(height));
    let Detection { x0, y0, x1, y1, .. } = *thing;
    [f64::from(x0) * across, f64::from(y0) * down, f64::from(x1) * across, f64::from(y1) * down]
}

fn pixels(mask: &Bitmap) -> Result<Mask, Error> {
    let (width, height) = mask.dimensions();
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| mask.get(x, y)));
    Ok(Mask::new(width as usize, pixels)?)
}

/// All boxes of the suffix and of the answer, the latter with the model's confidence.
fn picture(model: &PaliGemma, size: Size, expected: &[Detection], answer: &Answer) -> Picture {
    let truth = |thing: &Detection| {
        let rect = Rect::from_edges(edges(thing, size));
        Truth { label: thing.label.clone(), rect, area: rect.area(), crowd: false }
    };
    let found = |DetectedBox { label, x0, y0, x1, y1, confidence }: DetectedBox| Found {
        label,
        rect: Rect::from_edges([x0, y0, x1, y1].map(f64::from)),
        score: f64::from(confidence),
    };
    Picture {
        detections: tasks::boxes(answer, model.tokenizer(), size).into_iter().map(found).collect(),
        truths: expected.iter().map(truth).collect(),
    }
}
