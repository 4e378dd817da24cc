//! Products of matrices on a GPU by kernels that are chosen here.
//!
//! burn takes the kernel that is quickest when it is first timed. Among those that cubek-matmul
//! 0.2.0 offers NVIDIA GPUs are some that are quick and wrong: with the tensor memory accelerator,
//! batches that do not lie one after another, as those of a slice, are read as if they did
//! (`TensorMapInputs`, launch/args.rs), and a specialised one was what ran where sums of few terms
//! came out wrong. Those that multiply on tensor cores read f32 as TensorFloat-32
//! (`adjust_dtypes`).

use std::fmt;
use std::marker::PhantomData;

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::matmul::init_matmul_output;
use burn_cubecl::tensor::CubeTensor;
use burn_fusion::stream::{Operation, OperationStreams};
use burn_fusion::{Fusion, FusionBackend};
use burn_ir::{CustomOpIr, HandleContainer, MatmulOpIr, OperationIr, OperationOutput};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek::matmul::launch::{Strategy, launch_ref};
use cubek::matmul::routines::BlueprintStrategy;
use cubek::std::InputBinding;

/// See [`crate::NnBackend::matmul`].
pub(crate) fn matmul<R: CubeRuntime, B>(
    a: FloatTensor<Fusion<B>>,
    b: FloatTensor<Fusion<B>>,
) -> FloatTensor<Fusion<B>>
where
    B: FusionBackend<FloatTensorPrimitive = CubeTensor<R>>,
{
    let client = a.client.clone();
    let streams = OperationStreams::with_inputs([&a, &b]);
    let MatmulOpIr { lhs, rhs, out } =
        MatmulOpIr::create(a.into_ir(), b.into_ir(), || client.create_empty_handle());
    // Of a kind that burn does not fuse with others, whose kernels it would choose itself.
    let ir = CustomOpIr::new("matmul", &[lhs, rhs], &[out]);
    let product = Product::<R, B> { ir: ir.clone(), types: PhantomData };
    client.register(streams, OperationIr::Custom(ir), product).output()
}

/// A product that waits for its turn.
struct Product<R, B> {
    ir: CustomOpIr,
    types: PhantomData<fn() -> (R, B)>,
}

impl<R, B> fmt::Debug for Product<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ir.fmt(f)
    }
}

impl<R: CubeRuntime, B> Operation<B::FusionRuntime> for Product<R, B>
where
    B: FusionBackend<FloatTensorPrimitive = CubeTensor<R>>,
{
    fn execute(&self, handles: &mut HandleContainer<B::Handle>) {
        let ([a, b], [output]) = self.ir.as_fixed();
        let (a, b) = (handles.get_float_tensor::<B>(a), handles.get_float_tensor::<B>(b));
        handles.register_float_tensor::<B>(&output.id, multiply(&a, &b));
    }
}

/// The product by the first kernel that takes these shapes.
fn multiply<R: CubeRuntime>(a: &CubeTensor<R>, b: &CubeTensor<R>) -> CubeTensor<R> {
    let output = init_matmul_output(a, b, a.dtype);
    let mut refusal = None;
    for kernel in kernels(a.dtype, &a.meta.shape()[..]) {
        match launch(&kernel, a.clone(), b.clone(), output.clone()) {
            Ok(()) => return output,
            Err(why) => refusal = Some(why),
        }
    }
    unreachable!("the last kernel takes every product: {refusal:?}")
}

/// Kernels for a left operand of this type and shape, the last of which takes every product.
///
/// Numbers of 16 bits are multiplied on tensor cores, and summed in f32; a single row is read with
/// the matrix once through. f32 is multiplied and summed as f32, number by number.
fn kernels(dtype: DType, shape: &[usize]) -> Vec<Strategy> {
    let mut kernels = Vec::new();
    if dtype != DType::F32 {
        if let [1, _] = shape {
            kernels.push(Strategy::GemvPlaneParallel(BlueprintStrategy::default()));
        }
        kernels.push(Strategy::SimpleCyclicCmma(BlueprintStrategy::default()));
    }
    kernels.extend([Strategy::SimpleUnit(BlueprintStrategy::default()), Strategy::Naive]);
    kernels
}

fn launch<R: CubeRuntime>(
    kernel: &Strategy,
    a: CubeTensor<R>,
    b: CubeTensor<R>,
    output: CubeTensor<R>,
) -> Result<(), MatmulSetupError> {
    let [lhs, rhs, out] = [a.dtype, b.dtype, output.dtype].map(Into::into);
    let mut elements = MatmulElems::from_globals(&MatmulGlobalElems { lhs, rhs, out });
    let client = output.client.clone();
    let a = InputBinding::new(a.binding(), lhs);
    let b = InputBinding::new(b.binding(), rhs);
    launch_ref(kernel, &client, a, b, output.binding(), &mut elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dtype: DType, shape: &[usize]) -> Vec<String> {
        kernels(dtype, shape).iter().map(Strategy::to_string).collect()
    }

    #[test]
    fn f32_never_meets_a_tensor_core() {
        for shape in [[1, 64], [300, 64]] {
            let names = names(DType::F32, &shape);
            assert!(names.iter().all(|name| !name.contains("mma")), "{names:?}");
        }
    }

    #[test]
    fn every_product_finds_a_kernel_and_one_row_its_own() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for shape in [&[1, 64][..], &[300, 64], &[2, 1, 64]] {
                let names = names(dtype, shape);
                assert_eq!(names.last().map(String::as_str), Some("matmul_naive"), "{shape:?}");
                let one_row = names[0].starts_with("vecmat");
                assert_eq!(one_row, dtype != DType::F32 && shape == [1, 64], "{names:?}");
            }
        }
    }
}
