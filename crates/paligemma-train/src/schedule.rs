//! The learning rate over a run.

/// Linear warm-up from 0 to 1, then a cosine to 0: a factor for every rate of the optimiser.
///
/// The first step of a warm-up has the factor 0, as published: it fills the moments alone.
///
/// Source: big_vision `utils.py`, `create_learning_rate_schedule` with `decay_type='cosine'`, whose
/// steps are counted from 0 (`bv_optax.py`, `optax.scale_by_schedule`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Steps of the whole run.
    pub steps: usize,
    /// Steps until the full rate.
    pub warmup: usize,
}

impl Schedule {
    /// A run of so many steps with a warm-up over a share of them, to the nearest and at least one.
    ///
    /// A run of a single step has none, or it would do nothing. Source: big_vision `utils.py`,
    /// `steps`, for `warmup_percent`.
    pub fn with_share(steps: usize, share: f64) -> Self {
        let nearest = (share * steps as f64).round_ties_even() as usize;
        let warmup = if share > 0.0 { nearest.max(1) } else { 0 };
        Self { steps, warmup: warmup.min(steps.saturating_sub(1)) }
    }

    /// The factor at `step`, counted from 0; 0 beyond the end.
    ///
    /// ```
    /// let schedule = paligemma_train::Schedule { steps: 110, warmup: 10 };
    /// assert_eq!(schedule.factor(0), 0.0);
    /// assert!((schedule.factor(5) - 0.5).abs() < 1e-9);
    /// assert!((schedule.factor(60) - 0.5).abs() < 1e-9);
    /// assert_eq!(schedule.factor(110), 0.0);
    /// ```
    pub fn factor(&self, step: usize) -> f64 {
        if step < self.warmup {
            return step as f64 / self.warmup as f64;
        }
        let decay = self.steps.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / decay as f64).min(1.0);
        0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `create_learning_rate_schedule(20, decay_type='cosine', warmup_percent=0.2)` at every step, by
    /// its formulas: `step / 4`, then `(1 + cos(pi (step - 4) / 16)) / 2`.
    #[test]
    fn factors_are_the_published_ones() {
        let expected = [
            0.0, 0.25, 0.5, 0.75, 1.0, 0.990_393, 0.961_940, 0.915_735, 0.853_553, 0.777_785,
            0.691_342, 0.597_545, 0.5, 0.402_455, 0.308_658, 0.222_215, 0.146_447, 0.084_265,
            0.038_060, 0.009_607,
        ];
        let schedule = Schedule::with_share(20, 0.2);
        for (step, expected) in expected.into_iter().enumerate() {
            let factor = schedule.factor(step);
            assert!((factor - expected).abs() < 1e-6, "{step}: {factor}, not {expected}");
        }
    }

    #[test]
    fn a_warm_up_is_rounded_as_published_and_never_all_of_a_run() {
        // Python rounds halves to the even number.
        let warmups = [(0, 0), (1, 0), (2, 1), (10, 1), (30, 2), (50, 2), (70, 4), (1000, 50)];
        for (steps, warmup) in warmups {
            assert_eq!(Schedule::with_share(steps, 0.05), Schedule { steps, warmup });
        }
        assert_eq!(Schedule::with_share(100, 0.0).warmup, 0);
    }
}
