//! What a run measured, line by line: `metrics.jsonl`, and a picture of it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::{
    BLACK, BLUE, ChartBuilder, GREEN, IntoDrawingArea, IntoFont, LineSeries, PathElement, RED,
    RGBColor, SVGBackend, WHITE,
};
use serde::{Deserialize, Serialize};

use crate::Stepped;
use crate::run::{RunError, file};

/// The size of the picture.
const SIZE: (u32, u32) = (900, 480);
/// Steps whose losses a point of the curve is the mean of, as a share of all.
const SMOOTH: usize = 100;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps done.
    pub step: usize,
    /// Passes over the data that these are.
    pub epoch: f64,
    /// The loss of the step's examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The norm of all gradients, before they were clipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<f64>,
    /// AdamW's rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The loss of the examples that only measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// The score of the answers to those examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_score: Option<f64>,
}

impl Line {
    /// What a step came to.
    pub(crate) fn step(step: usize, epoch: f64, Stepped { loss, norm, rate }: Stepped) -> Self {
        let [loss, norm, rate] = [loss, norm, rate].map(Some);
        Self { step, epoch, loss, norm, rate, eval_loss: None, eval_score: None }
    }

    /// What was measured after a step.
    pub(crate) fn measured(step: usize, epoch: f64, loss: f64, eval_score: Option<f64>) -> Self {
        let (none, eval_loss) = (None, Some(loss));
        Self { step, epoch, loss: none, norm: none, rate: none, eval_loss, eval_score }
    }
}

/// The log of a run.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    lines: Vec<Line>,
}

impl Log {
    /// The log in a run's folder, without what was written after `steps`, from where it goes on.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(folder: &Path, steps: usize) -> Result<Self, RunError> {
        let path = folder.join("metrics.jsonl");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(file("read", &path)(error)),
        };
        // A line that a kill cut off does not parse; it is after the last checkpoint.
        let (mut kept, mut lines) = (String::new(), Vec::new());
        for text in text.lines() {
            let Ok(line) = serde_json::from_str::<Line>(text) else { continue };
            if line.step <= steps {
                // As it was written: a number that was read may differ in its last digit.
                kept.push_str(text);
                kept.push('\n');
                lines.push(line);
            }
        }
        paligemma_files::write(&path, kept.as_bytes()).map_err(file("write", &path))?;
        Ok(Self { path, lines })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, line: Line) -> Result<(), RunError> {
        let log = OpenOptions::new().append(true).create(true).open(&self.path);
        let mut log = log.map_err(file("open", &self.path))?;
        log.write_all(written(&line).as_bytes()).map_err(file("write", &self.path))?;
        self.lines.push(line);
        Ok(())
    }

    /// All lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Draws losses and scores into `loss.svg` beside the log.
    ///
    /// # Errors
    /// If the picture cannot be written.
    pub fn plot(&self) -> Result<(), RunError> {
        let path = self.path.with_file_name("loss.svg");
        let mut picture = String::new();
        // Drawing into a string fails only for a chart without extent, which none here is.
        if self.draw(&mut picture).is_none() {
            return Ok(());
        }
        paligemma_files::write(&path, picture.as_bytes()).map_err(file("write", &path))
    }

    fn draw(&self, picture: &mut String) -> Option<()> {
        let curves = Curves::of(&self.lines);
        let (last, highest) = curves.extent()?;
        let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
        area.fill(&WHITE).ok()?;
        let scores = !curves.scores.is_empty();
        let chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .right_y_label_area_size(if scores { 52 } else { 0 })
            .build_cartesian_2d(0.0..last, 0.0..highest * 1.05)
            .ok()?;
        let mut chart =
            chart.set_secondary_coord(0.0..last, 0.0..highest_of(&curves.scores).max(1.0));
        let font = ("sans-serif", 14).into_font();
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("epoch").y_desc("loss").label_style(font.clone()).draw().ok()?;
        let losses = [(curves.trained, BLUE, "training"), (curves.measured, RED, "held out")];
        for (points, colour, name) in losses.into_iter().filter(|(points, ..)| !points.is_empty()) {
            let series = chart.draw_series(LineSeries::new(points, colour)).ok()?;
            series.label(name).legend(sample(colour));
        }
        if scores {
            chart.configure_secondary_axes().y_desc("score").label_style(font).draw().ok()?;
            let line = LineSeries::new(curves.scores, GREEN);
            let series = chart.draw_secondary_series(line).ok()?;
            series.label("score").legend(sample(GREEN));
        }
        chart.configure_series_labels().border_style(BLACK).draw().ok()?;
        area.present().ok()
    }
}

/// Epochs, and what there was at them.
type Points = Vec<(f64, f64)>;

/// What is drawn.
struct Curves {
    trained: Points,
    measured: Points,
    scores: Points,
}

impl Curves {
    fn of(lines: &[Line]) -> Self {
        let points = |value: fn(&Line) -> Option<f64>| -> Points {
            lines.iter().filter_map(|line| Some((line.epoch, value(line)?))).collect()
        };
        let trained = points(|line| line.loss);
        let group = trained.len().div_ceil(SMOOTH).max(1);
        let mean = |points: &[(f64, f64)]| {
            let sum: f64 = points.iter().map(|point| point.1).sum();
            points.last().map(|last| (last.0, sum / points.len() as f64))
        };
        Self {
            trained: trained.chunks(group).filter_map(mean).collect(),
            measured: points(|line| line.eval_loss),
            scores: points(|line| line.eval_score),
        }
    }

    /// The last epoch and the highest loss, if there is anything to see.
    fn extent(&self) -> Option<(f64, f64)> {
        let last = self.trained.iter().chain(&self.measured).map(|point| point.0);
        let last = last.fold(0.0, f64::max);
        let highest = highest_of(&self.trained).max(highest_of(&self.measured));
        (last > 0.0 && highest > 0.0).then_some((last, highest))
    }
}

fn highest_of(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// A line of a colour, for the legend.
fn sample(colour: RGBColor) -> impl Fn((i32, i32)) -> PathElement<(i32, i32)> {
    move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour)
}

fn written(line: &Line) -> String {
    // A line holds numbers alone, which JSON always takes (those that are not finite as null).
    let text = serde_json::to_string(line).unwrap_or_default();
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize) -> Line {
        Line::step(step, step as f64 / 10.0, Stepped { loss: 1.0, norm: 2.0, rate: 1e-3 })
    }

    #[test]
    fn a_log_goes_on_where_its_checkpoint_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 0).unwrap();
        for step in 1..=5 {
            log.add(line(step)).unwrap();
        }
        fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join("metrics.jsonl"))
            .and_then(|mut file| file.write_all(b"{\"step\":6,\"ep"))
            .unwrap();
        let log = Log::open(folder.path(), 3).unwrap();
        assert_eq!(log.lines(), [1, 2, 3].map(line));
        log.plot().unwrap();
        let picture = fs::read_to_string(folder.path().join("loss.svg")).unwrap();
        assert!(picture.contains("<polyline") && picture.contains("training"), "{picture}");
        assert!(!picture.contains("score"), "{picture}");
        let mut log = log;
        log.add(Line::measured(3, 0.3, 0.5, Some(0.25))).unwrap();
        log.plot().unwrap();
        let picture = fs::read_to_string(folder.path().join("loss.svg")).unwrap();
        assert!(picture.contains("held out") && picture.contains("score"), "{picture}");
    }
}
