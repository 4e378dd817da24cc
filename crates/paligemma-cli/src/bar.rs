//! Progress bars: on the standard error, and only if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of work that is counted.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar of bytes that is seen when something is shown.
    pub(crate) fn new(what: &str) -> Self {
        Self::with(what, "{msg} {bar:30} {binary_bytes} of {binary_total_bytes}, {eta} left")
    }

    /// The same of pictures or rows of them, with their rate.
    pub(crate) fn of_items(what: &str) -> Self {
        Self::with(what, "{msg} {bar:30} {pos} of {len}, {per_sec}, {eta} left")
    }

    /// A bar that is never seen.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    fn with(what: &str, template: &str) -> Self {
        // A faulty template would show up as a plainer bar, not as a failure.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style);
        bar.set_message(what.to_owned());
        Self(bar)
    }

    /// Shows how much is done.
    pub(crate) fn show(&self, done: usize, total: usize) {
        // What was done before the first look says nothing of the pace.
        let first = self.0.length() == Some(0);
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
        if first {
            self.0.reset_eta();
        }
    }

    /// Leaves the full bar.
    pub(crate) fn finish(self) {
        self.0.finish();
    }

    /// Takes the bar away.
    pub(crate) fn clear(self) {
        self.0.finish_and_clear();
    }
}
