//! How a run is shown: burn's dashboard where a terminal has room for it, lines on the standard error
//! where not.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use paligemma::Size;
use paligemma_train::Event;

#[cfg(feature = "dashboard")]
use burn_train::renderer::tui::TuiMetricsRendererWrapper;

#[cfg(feature = "dashboard")]
use super::dashboard::Dashboard;

/// Between two lines of progress, on a terminal and elsewhere.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// What a user sees of a run.
#[derive(Default)]
pub(super) struct Shown {
    /// What scores are called.
    metric: Option<String>,
    /// Passes over the data.
    #[cfg(feature = "dashboard")]
    epochs: usize,
    #[cfg(feature = "dashboard")]
    dashboard: Option<Dashboard<TuiMetricsRendererWrapper>>,
    last: Option<Instant>,
    losses: Vec<f64>,
}

impl Shown {
    /// Nothing was shown yet.
    #[cfg_attr(
        not(feature = "dashboard"),
        expect(unused_variables, reason = "lines name no epochs")
    )]
    pub(super) fn new(metric: Option<String>, epochs: usize) -> Self {
        Self {
            metric,
            #[cfg(feature = "dashboard")]
            epochs,
            ..Self::default()
        }
    }

    /// Shows this on the dashboard or, if it is worth a line now, in one.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        #[cfg(feature = "dashboard")]
        if let Some(dashboard) = &mut self.dashboard {
            return dashboard.show(event);
        }
        self.say(event);
        #[cfg(feature = "dashboard")]
        if let Event::Begun { steps, total, .. } = *event {
            let before = self.epochs * steps / total.max(1);
            self.dashboard = Dashboard::open(self.metric.as_deref(), self.epochs, before);
        }
    }

    /// Whether the user asked for an end on the dashboard.
    pub(super) fn wants_stop(&self) -> bool {
        #[cfg(feature = "dashboard")]
        return self.dashboard.as_ref().is_some_and(Dashboard::wants_stop);
        #[cfg(not(feature = "dashboard"))]
        false
    }

    /// Writes a line if this is worth one now.
    fn say(&mut self, event: &Event<'_>) {
        match *event {
            Event::Begun { parameters, examples, steps, total, needs } => {
                let trained = parameters.iter().filter(|parameter| parameter.trained);
                let trained: usize = trained.map(paligemma_train::Parameter::count).sum();
                let all: usize = parameters.iter().map(paligemma_train::Parameter::count).sum();
                let before =
                    if steps > 0 { format!(", from step {steps} on") } else { String::new() };
                line(&format!(
                    "{examples} examples, {total} steps{before}; {trained} of {all} numbers are trained, \
                     in about {} of memory",
                    Size(needs.total())
                ));
            }
            Event::Step { steps, total, epoch, stepped, pace, left } => {
                self.losses.push(stepped.loss);
                let pause = PAUSES[usize::from(!stderr().is_terminal())];
                let due = self.last.is_none_or(|last| last.elapsed() >= pause) || steps == total;
                if !due {
                    return;
                }
                self.last = Some(Instant::now());
                let loss = self.losses.iter().sum::<f64>() / self.losses.len() as f64;
                self.losses.clear();
                line(&format!(
                    "step {steps}/{total}, epoch {epoch:.2}: loss {loss:.4}, norm {:.3}, rate {:.2e}, \
                     {pace:.1} examples/s, {} left",
                    stepped.norm,
                    stepped.rate,
                    duration(left)
                ));
            }
            Event::Measured { steps, loss, score } => {
                let score = score.map_or_else(String::new, |score| {
                    format!(", {} {score:.4}", self.metric.as_deref().unwrap_or("score"))
                });
                line(&format!("step {steps}: loss of the rows that only measure {loss:.4}{score}"));
            }
            Event::Saved { .. } => {}
        }
    }
}

/// Whether a run that has begun has the screen for itself.
pub(super) fn on_dashboard() -> bool {
    #[cfg(feature = "dashboard")]
    return super::dashboard::has_screen();
    #[cfg(not(feature = "dashboard"))]
    false
}

/// Writes a line.
pub(super) fn line(line: &str) {
    // Nobody may be reading; the log in the run's folder has it all.
    writeln!(stderr(), "{line}").ok();
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}
