//! burn's training dashboard: curves, progress and the remaining time on a terminal.

use std::io::{IsTerminal, stdin, stdout};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Arc;

use burn::data::dataloader::Progress;
use burn_train::Interrupter;
use burn_train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer, ProgressType, TrainingProgress};
use paligemma_train::Event;

/// What the renderer panics with where a user chose to end the program at once.
const KILLED: &str = "Killing training from user input.";

const LOSS: &str = "Loss";
const RATE: &str = "Rate";
const NORM: &str = "Norm of gradients";
const PACE: &str = "Examples a second";

/// A run on the screen.
pub(super) struct Dashboard<R> {
    /// None where it was closed from within.
    screen: Option<R>,
    keys: Interrupter,
    /// What scores are called.
    score: String,
    epochs: usize,
    saved: usize,
}

impl Dashboard<TuiMetricsRendererWrapper> {
    /// Takes over the terminal, if there is one.
    ///
    /// `before` counts the epochs that an earlier run has done.
    pub(super) fn open(metric: Option<&str>, epochs: usize, before: usize) -> Option<Self> {
        if !has_screen() {
            return None;
        }
        silence_kills();
        let keys = Interrupter::new();
        let screen = TuiMetricsRendererWrapper::new(keys.clone(), Some(before));
        Some(Self::on(screen, keys, metric, epochs))
    }
}

/// Whether there is a terminal that can be drawn on, and that keys can be read from.
pub(super) fn has_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !dumb && stdin().is_terminal() && stdout().is_terminal()
}

/// The renderer ends a program by a panic, which here is a stop like another: nobody needs to read
/// where in the code it happened.
fn silence_kills() {
    let others = take_hook();
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if info.payload_as_str() != Some(KILLED) {
            others(info);
        }
    }));
}

impl<R: MetricsRenderer> Dashboard<R> {
    fn on(screen: R, keys: Interrupter, metric: Option<&str>, epochs: usize) -> Self {
        let score = metric.unwrap_or("score").to_owned();
        let mut dashboard =
            Self { screen: Some(screen), keys, score: score.clone(), epochs, saved: 0 };
        let definitions =
            [(LOSS, false), (RATE, false), (NORM, false), (PACE, true), (&*score, true)];
        for (name, higher_is_better) in definitions {
            dashboard.send(|screen| screen.register_metric(definition(name, higher_is_better)));
        }
        dashboard
    }

    /// Shows what happened.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        match *event {
            Event::Begun { .. } => {}
            Event::Step { steps, total, epoch, stepped, pace, .. } => {
                let values = [
                    (LOSS, stepped.loss),
                    (RATE, stepped.rate),
                    (NORM, stepped.norm),
                    (PACE, pace),
                ];
                let (progress, shown) =
                    (self.progress(steps, total, epoch), self.shown(steps, total));
                self.send(|screen| {
                    for (name, value) in values {
                        screen.update_train(state(name, value));
                    }
                    screen.render_train(progress, shown);
                });
            }
            Event::Measured { loss, score, .. } => {
                let name = self.score.clone();
                self.send(|screen| {
                    screen.update_valid(state(LOSS, loss));
                    if let Some(score) = score {
                        screen.update_valid(state(&name, score));
                    }
                });
            }
            Event::Saved { steps } => self.saved = steps,
        }
    }

    /// Whether the user asked for an end, gently or at once.
    pub(super) fn wants_stop(&self) -> bool {
        self.screen.is_none() || self.keys.should_stop()
    }

    /// How far the epoch is, and the run.
    fn progress(&self, steps: usize, total: usize, epoch: f64) -> TrainingProgress {
        // The last step of an epoch still belongs to it.
        let number = (epoch.ceil() as usize).clamp(1, self.epochs.max(1));
        let within = (epoch - (number - 1) as f64).clamp(0.0, 1.0);
        let of_epoch = total.div_ceil(self.epochs.max(1)).max(1);
        let items_processed = (within * of_epoch as f64).round() as usize;
        TrainingProgress {
            progress: Some(Progress { items_processed, items_total: of_epoch }),
            global_progress: Progress { items_processed: number, items_total: self.epochs.max(1) },
            iteration: Some(steps),
        }
    }

    fn shown(&self, steps: usize, total: usize) -> Vec<ProgressType> {
        let progress = Progress { items_processed: steps, items_total: total };
        let saved = ProgressType::Value { tag: "Checkpoint".to_owned(), value: self.saved };
        vec![ProgressType::Detailed { tag: "Step".to_owned(), progress }, saved]
    }

    fn send(&mut self, message: impl FnOnce(&mut R)) {
        let Some(screen) = &mut self.screen else { return };
        if catch_unwind(AssertUnwindSafe(|| message(screen))).is_err() {
            self.screen = None;
        }
    }
}

fn id(name: &str) -> MetricId {
    MetricId::new(Arc::new(name.to_owned()))
}

fn definition(name: &str, higher_is_better: bool) -> MetricDefinition {
    MetricDefinition {
        metric_id: id(name),
        name: name.to_owned(),
        description: None,
        attributes: MetricAttributes::Numeric(NumericAttributes { unit: None, higher_is_better }),
    }
}

fn state(name: &str, value: f64) -> MetricState {
    let shown = SerializedEntry::new(format!("{value:.4e}"), value.to_string());
    MetricState::Numeric(MetricEntry::new(id(name), shown), NumericEntry::Value(value))
}

#[cfg(test)]
mod tests {
    use burn_train::renderer::{
        EvaluationName, EvaluationProgress, MetricsRendererEvaluation, MetricsRendererTraining,
    };
    use paligemma_train::Stepped;

    use super::*;

    /// A renderer that keeps what it is told, or panics as a killed one does.
    #[derive(Default)]
    struct Kept {
        lines: Vec<String>,
        killed: bool,
    }

    impl Kept {
        fn keep(&mut self, split: &str, state: MetricState) {
            assert!(!self.killed, "{KILLED}");
            let MetricState::Numeric(entry, value) = state else { panic!("no number") };
            let name = format!("{:?}", entry.metric_id);
            let name = name.split('"').nth(1).unwrap();
            self.lines.push(format!("{split} {name} {}", value.current()));
        }
    }

    impl MetricsRendererTraining for Kept {
        fn update_train(&mut self, state: MetricState) {
            self.keep("train", state);
        }

        fn update_valid(&mut self, state: MetricState) {
            self.keep("valid", state);
        }

        fn render_train(&mut self, item: TrainingProgress, shown: Vec<ProgressType>) {
            let (epoch, within) = (item.global_progress, item.progress.unwrap());
            self.lines.push(format!(
                "epoch {}/{}, {}/{}, {} shown",
                epoch.items_processed,
                epoch.items_total,
                within.items_processed,
                within.items_total,
                shown.len()
            ));
        }

        fn render_valid(&mut self, _: TrainingProgress, _: Vec<ProgressType>) {}
    }

    impl MetricsRendererEvaluation for Kept {
        fn update_test(&mut self, _: EvaluationName, _: MetricState) {}

        fn render_test(&mut self, _: EvaluationProgress, _: Vec<ProgressType>) {}
    }

    impl MetricsRenderer for Kept {
        fn manual_close(&mut self) {}

        fn register_metric(&mut self, definition: MetricDefinition) {
            self.lines.push(definition.name);
        }
    }

    fn step(steps: usize, epoch: f64) -> Event<'static> {
        let stepped = Stepped { loss: 0.5, norm: 2.0, rate: 1e-3 };
        Event::Step { steps, total: 20, epoch, stepped, pace: 3.0, left: 9.0 }
    }

    #[test]
    fn steps_and_measures_become_curves_and_progress() {
        let keys = Interrupter::new();
        let mut dashboard = Dashboard::on(Kept::default(), keys.clone(), Some("vqa"), 2);
        dashboard.show(&step(10, 1.0));
        dashboard.show(&step(11, 1.1));
        dashboard.show(&Event::Measured { steps: 11, loss: 0.25, score: Some(0.75) });
        let lines = &dashboard.screen.as_ref().unwrap().lines;
        assert_eq!(lines[..5], [LOSS, RATE, NORM, PACE, "vqa"]);
        assert_eq!(lines[5], "train Loss 0.5");
        assert_eq!(lines[9], "epoch 1/2, 10/10, 2 shown");
        assert_eq!(lines[14], "epoch 2/2, 1/10, 2 shown");
        assert_eq!(lines[15..], ["valid Loss 0.25", "valid vqa 0.75"]);
        assert!(!dashboard.wants_stop());
        keys.stop(None);
        assert!(dashboard.wants_stop());
    }

    #[test]
    fn a_killed_screen_is_a_stop() {
        let screen = Kept { killed: true, ..Kept::default() };
        let mut dashboard = Dashboard::on(screen, Interrupter::new(), None, 1);
        assert!(!dashboard.wants_stop());
        dashboard.show(&step(1, 0.1));
        assert!(dashboard.wants_stop());
        dashboard.show(&step(2, 0.2));
    }
}
