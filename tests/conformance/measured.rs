//! What a case measures, and how much of it is allowed, with the reason for each number.

use paligemma::Dtype;

use crate::reference::Tiny;

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

    /// The root mean square of the differences between two lists of values, relative to that of
    /// `theirs`.
    ///
    /// # Panics
    /// If they differ in length.
    pub fn relative(what: impl Into<String>, ours: &[f32], theirs: &[f32], tolerance: f32) -> Self {
        let what = what.into();
        assert_eq!(ours.len(), theirs.len(), "numbers of values of {what}");
        let norm = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
        };
        let differences = norm(&mut ours.iter().zip(theirs).map(|(a, b)| a - b));
        let error = (differences / norm(&mut theirs.iter().copied())) as f32;
        let error = if error.is_finite() { error } else { f32::INFINITY };
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
    /// A value within the model against the reference's, as a root mean square relative to it.
    Layer,
    /// A gradient, relative to the largest of its parameter.
    Gradient,
    /// Two ways of ours to the same value: in a batch and alone, cached and not.
    OwnTwoWays,
}

/// A row of the table of tolerances.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// What the model is held in.
    pub dtype: Dtype,
    /// What is compared.
    pub quantity: Quantity,
    /// The largest absolute error allowed.
    pub limit: f32,
    /// Why this number.
    pub reason: &'static str,
}

/// Every tolerance there is, for the golden PaliGemma, whose logits reach 3.4; for those of the
/// golden PaliGemma 2, which reach 1.4, the limits are smaller ([`tolerance`]).
pub const TOLERANCES: &[Tolerance] = &[
    row(Dtype::F32, Quantity::Reference, 1e-4, "ten times what its two kernels differ by"),
    row(Dtype::F32, Quantity::Residual, 3e-4, "twice what the reference is from f64 (1.4e-4)"),
    row(Dtype::F32, Quantity::Layer, 1e-4, "as the values themselves, most of which are below 1"),
    row(Dtype::F32, Quantity::Gradient, 1e-4, "f32 against the same derivatives in f64"),
    row(Dtype::F32, Quantity::OwnTwoWays, 1e-5, "sums in another order; it differs by 3e-6"),
    row(Dtype::Bf16, Quantity::Reference, 0.3, "twice what it loses in bf16 itself (0.148)"),
    row(Dtype::Bf16, Quantity::Layer, 0.06, "twice what packed weights lose (0.028)"),
    row(Dtype::Bf16, Quantity::OwnTwoWays, 0.15, "what the reference loses in bf16"),
    row(Dtype::F16, Quantity::Reference, 0.0375, "three bits more than bf16: an eighth"),
    row(Dtype::F16, Quantity::Layer, 0.0075, "three bits more than bf16: an eighth"),
    row(Dtype::F16, Quantity::OwnTwoWays, 0.019, "three bits more than bf16: an eighth"),
    row(Dtype::Int8, Quantity::Reference, 1.2, "four times bf16: a step is a 127th of the largest"),
    row(Dtype::Int8, Quantity::Layer, 0.24, "four times bf16"),
    row(Dtype::Int8, Quantity::OwnTwoWays, 0.15, "as bf16: a difference may tip a rounding"),
    row(Dtype::Int4, Quantity::Reference, 2.4, "twice int8, in the decoder alone"),
    row(Dtype::Int4, Quantity::Layer, 0.6, "sixteen levels lose a twelfth in each of 14 products"),
    row(Dtype::Int4, Quantity::OwnTwoWays, 0.6, "half of int8: activations of 8 bits, or of bf16"),
];

const fn row(dtype: Dtype, quantity: Quantity, limit: f32, reason: &'static str) -> Tolerance {
    Tolerance { dtype, quantity, limit, reason }
}

/// The tolerance for `quantity` in `dtype`. What rounding to less than f32 costs logits is in
/// proportion to them.
///
/// # Panics
/// If the table has no such row.
pub fn tolerance(golden: Tiny, dtype: Dtype, quantity: Quantity) -> f32 {
    let row = TOLERANCES.iter().find(|row| row.dtype == dtype && row.quantity == quantity);
    let limit = row.unwrap_or_else(|| panic!("no tolerance for {quantity:?} in {dtype}")).limit;
    let absolute = matches!(quantity, Quantity::Reference | Quantity::OwnTwoWays);
    if absolute && dtype != Dtype::F32 {
        limit * golden.largest_logit() / Tiny::Gemma.largest_logit()
    } else {
        limit
    }
}
