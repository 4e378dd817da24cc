//! How a run is shown: lines on the standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use paligemma::Size;
use paligemma_train::Event;

/// Between two lines of progress, on a terminal and elsewhere.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// Lines of progress on the standard error.
#[derive(Default)]
pub(super) struct Shown {
    /// What scores are called.
    metric: Option<String>,
    last: Option<Instant>,
    losses: Vec<f64>,
}

impl Shown {
    /// Nothing was shown yet.
    pub(super) fn new(metric: Option<String>) -> Self {
        Self { metric, ..Self::default() }
    }

    /// Writes a line if this is worth one now.
    pub(super) fn show(&mut self, event: &Event<'_>) {
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
