//! The learning rate over a run.

/// Linear warm-up to 1, then a cosine to 0: a factor for every rate of the optimiser.
///
/// Source: big_vision `configs/proj/paligemma/transfers`, `schedule = dict(decay_type='cosine')`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Steps of the whole run.
    pub steps: usize,
    /// Steps until the full rate.
    pub warmup: usize,
}

impl Schedule {
    /// The factor at `step`, counted from 0; 0 beyond the end.
    ///
    /// ```
    /// let schedule = paligemma_train::Schedule { steps: 110, warmup: 10 };
    /// assert!((schedule.factor(4) - 0.5).abs() < 1e-9);
    /// assert!((schedule.factor(60) - 0.5).abs() < 1e-9);
    /// assert_eq!(schedule.factor(110), 0.0);
    /// ```
    pub fn factor(&self, step: usize) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let decay = self.steps.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / decay as f64).min(1.0);
        0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }
}
