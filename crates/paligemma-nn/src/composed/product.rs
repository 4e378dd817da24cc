//! Products of matrices, and products of f32 on devices that read fewer bits of it.

use burn::tensor::{DType, Tensor};
use burn_backend::Backend;

use super::{cast, primitive, tensor};
use crate::NnBackend;

/// `multiply(a, b)`, which must be linear in both, as exact as f32 on every backend. Matrices are
/// better multiplied by [`matmul`], convolutions are what this is for.
///
/// Where the backend reads f32 operands with fewer bits ([`NnBackend::COARSE_PRODUCTS`]), each is
/// split in three numbers of bfloat16, and six of the nine products of these are added, those left
/// out being below 2^-23 of the product of the numbers (Henry, Tang and Heinecke, 2019,
/// arXiv:1904.06376, section 2). Operands of other types are multiplied as they are, and so is what
/// burn itself records for gradients, as against the operations of [`NnBackend`].
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

/// The product of matrices, by [`NnBackend::matmul`].
///
/// # Shapes
/// `a` `[.., M, K]`, `b` `[.., K, N]` -> `[.., M, N]`
pub fn matmul<B: NnBackend, const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>) -> Tensor<B, D> {
    tensor(B::matmul(primitive(a), primitive(b)))
}

fn in_parts<B: Backend, const A: usize, const W: usize, const O: usize>(
    a: Tensor<B, A>,
    b: Tensor<B, W>,
    multiply: impl Fn(Tensor<B, A>, Tensor<B, W>) -> Tensor<B, O>,
) -> Tensor<B, O> {
    let device = a.device();
    let (a, b) = (parts(a), parts(b));
    let product = |i: usize, j: usize| multiply(a[i].clone(), b[j].clone());
    // The smallest first, so that they are not lost beside the largest.
    let third = product(0, 2) + product(2, 0) + product(1, 1);
    let second = product(0, 1) + product(1, 0);
    let sum = third + second + product(0, 0);
    // burn-fusion 0.21.0 computes wrong gradients where it fuses such a sum with what follows; what
    // is done is not fused. A device that fails says so where the numbers are read.
    B::sync(&device).ok();
    sum
}

/// Three numbers of bfloat16 that sum up to each, the largest first.
fn parts<B: Backend, const D: usize>(x: Tensor<B, D>) -> [Tensor<B, D>; 3] {
    let held = |x: Tensor<B, D>| cast(cast(x, DType::BF16), DType::F32);
    let first = held(x.clone());
    let rest = x - first.clone();
    let second = held(rest.clone());
    let third = rest - second.clone();
    [first, second, third]
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::TensorData;
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
    fn error(product: &Tensor<Flex, 2>, a: &Tensor<Flex, 2>, b: &Tensor<Flex, 2>) -> f64 {
        let ([rows, inner], [_, columns]) = (a.dims(), b.dims());
        let numbers = |x: &Tensor<Flex, 2>| x.to_data().iter::<f64>().collect::<Vec<_>>();
        let (a, b, product) = (numbers(a), numbers(b), numbers(product));
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
        // Multiples of the golden ratio, without what is before the point: the same in every run.
        let scattered = |shape: [usize; 2], first: usize| {
            let number = |i: usize| (0.618_034 * (first + i) as f64).fract() as f32;
            let numbers: Vec<f32> = (0..shape[0] * shape[1]).map(number).collect();
            Tensor::<Flex, 2>::from_data(TensorData::new(numbers, shape), &FlexDevice)
        };
        let (a, b) = (scattered([7, 65], 1), scattered([65, 5], 1000));
        let multiply = |a: Tensor<Flex, 2>, b: Tensor<Flex, 2>| coarse(&a).matmul(coarse(&b));
        let plain = error(&multiply(a.clone(), b.clone()), &a, &b);
        let parts = error(&in_parts(a.clone(), b.clone(), multiply), &a, &b);
        assert!(plain > 2e-4, "the coarse product is not coarse: {plain}");
        let exact = error(&a.clone().matmul(b.clone()), &a, &b);
        assert!(parts < 2.0 * exact.max(1e-7), "{parts}, where f32 has {exact}");
    }

    #[test]
    fn parts_of_a_number_are_the_number() {
        let numbers = [1.0_f32, -3.333_333_3, 1e-30, 65_537.0, 0.0];
        let x = Tensor::<Flex, 1>::from_floats(numbers, &FlexDevice);
        let [first, second, third] = parts(x.clone());
        assert_eq!((third + second + first).into_data(), x.into_data());
    }
}
