//! What a case measures, and how much of it is allowed, with the reason for each number.

use burn::tensor::FloatDType;

/// One comparison of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What was compared.
    pub what: String,
    /// The largest absolute difference, or a count of what differs; infinite if a value is not
    /// finite.
    pub error: f32,
    /// The largest error that passes.
    pub tolerance: f32,
}

impl Measured {
    /// The largest difference between two lists of values.
    ///
    /// # Panics
    /// If they differ in length.
    pub fn difference(
        what: impl Into<String>,
        ours: &[f32],
        theirs: &[f32],
        tolerance: f32,
    ) -> Self {
        let what = what.into();
        assert_eq!(ours.len(), theirs.len(), "numbers of values of {what}");
        let error =
            ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, |largest, error| {
                if error.is_finite() { f32::max(largest, error) } else { f32::INFINITY }
            });
        Self { what, error, tolerance }
    }

    /// How many entries differ; none may.
    ///
    /// # Panics
    /// If the lists differ in length.
    pub fn exact<T: PartialEq>(what: impl Into<String>, ours: &[T], theirs: &[T]) -> Self {
        let what = what.into();
        assert_eq!(ours.len(), theirs.len(), "numbers of entries of {what}");
        let differ = ours.iter().zip(theirs).filter(|(a, b)| a != b).count();
        Self { what, error: differ as f32, tolerance: 0.0 }
    }

    /// Whether the error is allowed.
    pub fn passes(&self) -> bool {
        self.error <= self.tolerance
    }

    /// How much of the tolerance is used up, to find the worst of several.
    pub(crate) fn severity(&self) -> f32 {
        if self.error == 0.0 { 0.0 } else { self.error / self.tolerance }
    }
}

/// What kind of comparison a tolerance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// A value against the reference's, computed in f32.
    Reference,
    /// A value of the decoder's residual stream, which reaches 41 where others stay below 9.
    Residual,
    /// A gradient, relative to the largest of its parameter.
    Gradient,
    /// Two ways of ours to the same value: in a batch and alone, cached and not.
    OwnTwoWays,
}

/// A row of the table of tolerances.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// What the model computes in.
    pub dtype: FloatDType,
    /// What is compared.
    pub quantity: Quantity,
    /// The largest absolute error allowed.
    pub limit: f32,
    /// Why this number.
    pub reason: &'static str,
}

/// Every tolerance there is. Logits of the golden model reach 3.4.
pub const TOLERANCES: &[Tolerance] = &[
    row(FloatDType::F32, Quantity::Reference, 1e-4, "ten times what its two kernels differ by"),
    row(FloatDType::F32, Quantity::Residual, 3e-4, "twice what the reference is from f64 (1.4e-4)"),
    row(FloatDType::F32, Quantity::Gradient, 1e-4, "f32 against the same derivatives in f64"),
    row(FloatDType::F32, Quantity::OwnTwoWays, 1e-5, "sums in another order; it differs by 3e-6"),
    row(FloatDType::BF16, Quantity::Reference, 0.3, "twice what it loses in bf16 itself (0.148)"),
    row(FloatDType::BF16, Quantity::OwnTwoWays, 0.15, "what the reference loses in bf16"),
    row(FloatDType::F16, Quantity::Reference, 0.0375, "three bits more than bf16: an eighth"),
    row(FloatDType::F16, Quantity::OwnTwoWays, 0.019, "three bits more than bf16: an eighth"),
];

const fn row(dtype: FloatDType, quantity: Quantity, limit: f32, reason: &'static str) -> Tolerance {
    Tolerance { dtype, quantity, limit, reason }
}

/// The tolerance for `quantity` in `dtype`.
///
/// # Panics
/// If the table has no such row.
pub fn tolerance(dtype: FloatDType, quantity: Quantity) -> f32 {
    let row = TOLERANCES.iter().find(|row| row.dtype == dtype && row.quantity == quantity);
    row.unwrap_or_else(|| panic!("no tolerance for {quantity:?} in {dtype:?}")).limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_never_passes() {
        for bad in [f32::NAN, f32::INFINITY] {
            let measured = Measured::difference("x", &[0.0, bad, 0.0], &[0.0; 3], 1.0);
            assert!(!measured.passes() && measured.error == f32::INFINITY);
            // Not even where the reference is as bad.
            assert!(!Measured::difference("x", &[bad], &[bad], 1.0).passes());
        }
    }

    #[test]
    fn the_largest_difference_counts() {
        let measured = Measured::difference("x", &[1.0, 2.0, 3.0], &[1.5, 2.0, 2.75], 0.5);
        assert!(measured.passes() && measured.error.to_bits() == 0.5_f32.to_bits());
        assert!(!Measured { tolerance: 0.4, ..measured }.passes());
        let differ = Measured::exact("ids", &[1, 2, 3], &[1, 0, 0]);
        assert!(!differ.passes() && differ.error.to_bits() == 2_f32.to_bits());
    }
}
