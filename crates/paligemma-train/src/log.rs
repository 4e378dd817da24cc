//! What a run measured, line by line: `metrics.jsonl`, and a picture of it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::{
    BLACK, BLUE, ChartBuilder, IntoDrawingArea, IntoFont, LineSeries, PathElement, RED, SVGBackend,
    WHITE,
};
use serde::{Deserialize, Serialize};

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

    /// Draws the losses into `loss.svg` beside the log.
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
        let trained: Vec<(f64, f64)> =
            self.lines.iter().filter_map(|line| Some((line.epoch, line.loss?))).collect();
        let group = trained.len().div_ceil(SMOOTH).max(1);
        let mean = |points: &[(f64, f64)]| {
            let sum: f64 = points.iter().map(|point| point.1).sum();
            points.last().map(|last| (last.0, sum / points.len() as f64))
        };
        let trained: Vec<(f64, f64)> = trained.chunks(group).filter_map(mean).collect();
        let measured: Vec<(f64, f64)> =
            self.lines.iter().filter_map(|line| Some((line.epoch, line.eval_loss?))).collect();
        let all = || trained.iter().chain(&measured);
        let last = all().map(|point| point.0).fold(0.0, f64::max);
        let highest =
            all().map(|point| point.1).filter(|loss| loss.is_finite()).fold(0.0, f64::max);
        if last <= 0.0 || highest <= 0.0 {
            return None;
        }
        let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
        area.fill(&WHITE).ok()?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..last, 0.0..highest * 1.05)
            .ok()?;
        let font = ("sans-serif", 14).into_font();
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("epoch").y_desc("loss").label_style(font).draw().ok()?;
        for (points, colour, name) in [(trained, BLUE, "training"), (measured, RED, "held out")] {
            if !points.is_empty() {
                let series = chart.draw_series(LineSeries::new(points, colour)).ok()?;
                let sample = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour);
                series.label(name).legend(sample);
            }
        }
        chart.configure_series_labels().border_style(BLACK).draw().ok()?;
        area.present().ok()
    }
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
        let epoch = step as f64 / 10.0;
        Line { step, epoch, loss: Some(1.0), norm: None, rate: None, eval_loss: None }
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
    }
}
