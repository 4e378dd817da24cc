//! Products of f32 numbers on devices that read fewer bits of them.

use burn::tensor::{DType, Tensor};
use burn_backend::Backend;

use super::cast;
use crate::NnBackend;

/// `multiply(a, b)`, which must be linear in both, as exact as f32 on every backend.
///
/// Where the backend reads f32 operands with fewer bits ([`NnBackend::COARSE_PRODUCTS`]), each is
/// the sum of what bfloat16 holds of it and of the rest, and the products of these parts are added,
/// but for that of the two rests, which is below 2^-18 of the product of the numbers (Henry, Tang
/// and Heinecke, 2019, arXiv:1904.06376, section 2). Operands of other types are multiplied as they
/// are.
///
/// # Shapes
/// Those of `multiply`.
pub fn exact_product<B: NnBackend, const A: usize, const W: usize, const O: usize>(
    a: Tensor<B, A>,
    b: Tensor<B, W>,
    multiply: impl Fn(Tensor<B, A>, Tensor<B, W>) -> Tensor<B, O>,
) -> Tensor<B, O> {
    let both_f32 = a.dtype() == DType::F32 && b.dtype() == DType::F32;
    if B::COARSE_PRODUCTS && both_f32 { in_parts(a, b, multiply) } else { multiply(a, b) }
}

/// The product of matrices by [`exact_product`].
pub(crate) fn matmul<B: NnBackend, const D: usize>(
    a: Tensor<B, D>,
    b: Tensor<B, D>,
) -> Tensor<B, D> {
    exact_product(a, b, Tensor::matmul)
}

fn in_parts<B: Backend, const A: usize, const W: usize, const O: usize>(
    a: Tensor<B, A>,
    b: Tensor<B, W>,
    multiply: impl Fn(Tensor<B, A>, Tensor<B, W>) -> Tensor<B, O>,
) -> Tensor<B, O> {
    let (a, a_rest) = parts(a);
    let (b, b_rest) = parts(b);
    let small = multiply(a.clone(), b_rest) + multiply(a_rest, b.clone());
    small + multiply(a, b)
}

/// What bfloat16 holds of numbers, and the rest.
fn parts<B: Backend, const D: usize>(x: Tensor<B, D>) -> (Tensor<B, D>, Tensor<B, D>) {
    let held = cast(cast(x.clone(), DType::BF16), DType::F32);
    (held.clone(), x - held)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Distribution, TensorData};
    use burn_flex::{Flex, FlexDevice};

    use super::*;

    /// The numbers with the 11 bits that TensorFloat-32 keeps; the others are dropped.
    fn coarse(x: &Tensor<Flex, 2>) -> Tensor<Flex, 2> {
        let shape = x.dims();
        let keep = |x: f32| f32::from_bits(x.to_bits() & !0x1fff);
        let kept: Vec<f32> = x.to_data().iter::<f32>().map(keep).collect();
        Tensor::from_data(TensorData::new(kept, shape), &FlexDevice)
    }

    /// The largest difference from the product in f64, as a share of the largest number in it.
    fn error(product: Tensor<Flex, 2>, a: &Tensor<Flex, 2>, b: &Tensor<Flex, 2>) -> f64 {
        let ([rows, inner], [_, columns]) = (a.dims(), b.dims());
        let numbers = |x: &Tensor<Flex, 2>| x.to_data().iter::<f64>().collect::<Vec<_>>();
        let (a, b, product) = (numbers(a), numbers(b), numbers(&product));
        let exact = |at: usize| {
            let (row, column) = (at / columns, at % columns);
            (0..inner).map(|k| a[row * inner + k] * b[k * columns + column]).sum::<f64>()
        };
        let exact: Vec<f64> = (0..rows * columns).map(exact).collect();
        let largest = exact.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let differences = exact.iter().zip(&product).map(|(exact, got)| (exact - got).abs());
        differences.fold(0.0, f64::max) / largest
    }

    #[test]
    fn parts_make_good_what_coarse_products_lose() {
        let random = |shape| Tensor::<Flex, 2>::random(shape, Distribution::Default, &FlexDevice);
        let (a, b) = (random([7, 65]), random([65, 5]));
        let multiply = |a: Tensor<Flex, 2>, b: Tensor<Flex, 2>| coarse(&a).matmul(coarse(&b));
        let plain = error(multiply(a.clone(), b.clone()), &a, &b);
        let parts = error(in_parts(a.clone(), b.clone(), multiply), &a, &b);
        assert!(plain > 2e-4, "the coarse product is not coarse: {plain}");
        assert!(parts < 4e-6, "{parts}");
    }

    #[test]
    fn parts_of_a_number_are_the_number() {
        let numbers = [1.0_f32, -3.141_592_7, 1e-30, 65_537.0, 0.0];
        let x = Tensor::<Flex, 1>::from_floats(numbers, &FlexDevice);
        let (held, rest) = parts(x.clone());
        assert_eq!((held + rest).into_data(), x.into_data());
    }
}
