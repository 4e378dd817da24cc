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
    /// Two ways of ours to the same value: in a batch and alone, cached and not.
    OwnTwoWays,
    /// A slope of the loss by its gradient and by a difference, relative to the gradient's length.
    Gradient,
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
    Tolerance {
        dtype: FloatDType::F32,
        quantity: Quantity::Reference,
        limit: 1e-4,
        reason: "ten times what the reference's two attention kernels differ by (1.2e-5)",
    },
    Tolerance {
        dtype: FloatDType::F32,
        quantity: Quantity::OwnTwoWays,
        limit: 1e-5,
        reason: "sums in another order; the reference differs from itself by 3e-6",
    },
    Tolerance {
        dtype: FloatDType::F32,
        quantity: Quantity::Gradient,
        limit: 5e-3,
        reason: "the loss is known to 5e-7, and is divided by a step of 0.02",
    },
    Tolerance {
        dtype: FloatDType::BF16,
        quantity: Quantity::Reference,
        limit: 0.22,
        reason: "1.5 times what the reference itself loses in bf16 (0.148)",
    },
    Tolerance {
        dtype: FloatDType::BF16,
        quantity: Quantity::OwnTwoWays,
        limit: 0.22,
        reason: "each way may round as far from the truth as the reference in bf16",
    },
    Tolerance {
        dtype: FloatDType::F16,
        quantity: Quantity::Reference,
        limit: 0.0275,
        reason: "an eighth of bf16: three more bits of precision",
    },
    Tolerance {
        dtype: FloatDType::F16,
        quantity: Quantity::OwnTwoWays,
        limit: 0.0275,
        reason: "an eighth of bf16: three more bits of precision",
    },
];

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
        assert!(measured.passes() && measured.error == 0.5);
        assert!(!Measured { tolerance: 0.4, ..measured }.passes());
        let differ = Measured::exact("ids", &[1, 2, 3], &[1, 0, 0]);
        assert!(!differ.passes() && differ.error == 2.0);
    }
}
