//! Gradients of many parameters at once: summed over parts of a batch, measured and clipped.

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, FloatDType, Tensor};

/// Gradients by parameter, in f32.
#[derive(Debug, Default)]
pub struct Gradients(GradientsParams);

impl Gradients {
    /// The gradients of `module`'s parameters that a backward pass left.
    pub fn of<A: AutodiffBackend, M: AutodiffModule<A>>(
        mut gradients: A::Gradients,
        module: &M,
    ) -> Self {
        let mut sum = Self::default();
        sum.add(&mut gradients, module);
        sum
    }

    /// The gradient of a parameter, if it has one.
    pub fn get<B: Backend, const D: usize>(&self, id: ParamId) -> Option<Tensor<B, D>> {
        self.0.get(id)
    }

    /// Adds what a backward pass left for `module`'s parameters.
    pub(crate) fn add<A: AutodiffBackend, M: Module<A>>(
        &mut self,
        gradients: &mut A::Gradients,
        module: &M,
    ) {
        struct Add<'a, A: AutodiffBackend> {
            sum: &'a mut GradientsParams,
            gradients: &'a mut A::Gradients,
        }

        impl<A: AutodiffBackend> ModuleVisitor<A> for Add<'_, A> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                let Some(gradient) = param.val().grad_remove(self.gradients) else { return };
                let gradient = gradient.cast(DType::F32);
                let sum = match self.sum.remove::<A::InnerBackend, D>(param.id) {
                    Some(sum) => sum + gradient,
                    None => gradient,
                };
                self.sum.register(param.id, sum);
            }
        }
        module.visit(&mut Add { sum: &mut self.0, gradients });
    }

    /// Adds `others`, gradients of parameters of `module`.
    pub fn merge<A: AutodiffBackend, M: Module<A>>(&mut self, others: Self, module: &M) {
        struct Merge<'a> {
            sum: &'a mut GradientsParams,
            others: GradientsParams,
        }

        impl<A: AutodiffBackend> ModuleVisitor<A> for Merge<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                let Some(other) = self.others.remove::<A::InnerBackend, D>(param.id) else {
                    return;
                };
                let sum = match self.sum.remove::<A::InnerBackend, D>(param.id) {
                    Some(sum) => sum + other,
                    None => other,
                };
                self.sum.register(param.id, sum);
            }
        }
        module.visit(&mut Merge { sum: &mut self.0, others: others.0 });
    }

    /// The Euclidean norm of all gradients together.
    pub fn norm<A: AutodiffBackend, M: Module<A>>(&self, module: &M) -> f64 {
        struct Norm<'a> {
            gradients: &'a GradientsParams,
            squares: f64,
        }

        impl<A: AutodiffBackend> ModuleVisitor<A> for Norm<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                let gradient = self.gradients.get::<A::InnerBackend, D>(param.id);
                let Some(gradient) = gradient else { return };
                self.squares += sum_of_squares(gradient);
            }
        }
        let mut norm = Norm { gradients: &self.0, squares: 0.0 };
        module.visit(&mut norm);
        norm.squares.sqrt()
    }

    /// Multiplies every gradient.
    #[must_use]
    pub fn scaled<A: AutodiffBackend, M: Module<A>>(mut self, factor: f64, module: &M) -> Self {
        struct Scale<'a> {
            gradients: &'a mut GradientsParams,
            factor: f64,
        }

        impl<A: AutodiffBackend> ModuleVisitor<A> for Scale<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                if let Some(gradient) = self.gradients.remove::<A::InnerBackend, D>(param.id) {
                    self.gradients.register(param.id, gradient.mul_scalar(self.factor));
                }
            }
        }
        module.visit(&mut Scale { gradients: &mut self.0, factor });
        self
    }

    /// All gradients one after the other, each as a vector, in the order of `module`'s trained
    /// parameters; zeros for one that has none.
    pub(crate) fn into_vectors<A: AutodiffBackend, M: Module<A>>(
        self,
        module: &M,
    ) -> Vec<Tensor<A::InnerBackend, 1>> {
        struct Take<A: AutodiffBackend> {
            gradients: GradientsParams,
            taken: Vec<Tensor<A::InnerBackend, 1>>,
        }

        impl<A: AutodiffBackend> ModuleVisitor<A> for Take<A> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                let value = param.val();
                if !value.is_require_grad() {
                    return;
                }
                let numbers = value.shape().num_elements();
                let gradient = self.gradients.remove::<A::InnerBackend, D>(param.id);
                self.taken.push(match gradient {
                    Some(gradient) => gradient.reshape([numbers]),
                    None => Tensor::zeros([numbers], (&value.device(), DType::F32)),
                });
            }
        }
        let mut take = Take::<A> { gradients: self.0, taken: Vec::new() };
        module.visit(&mut take);
        take.taken
    }

    /// The gradients that [`Gradients::into_vectors`] took apart.
    pub(crate) fn from_vectors<A: AutodiffBackend, M: Module<A>>(
        vectors: Vec<Tensor<A::InnerBackend, 1>>,
        module: &M,
    ) -> Self {
        struct Put<A: AutodiffBackend> {
            gradients: GradientsParams,
            vectors: std::vec::IntoIter<Tensor<A::InnerBackend, 1>>,
        }

        impl<A: AutodiffBackend> ModuleVisitor<A> for Put<A> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                let value = param.val();
                if !value.is_require_grad() {
                    return;
                }
                if let Some(vector) = self.vectors.next() {
                    let gradient = vector.reshape::<D, _>(value.shape());
                    self.gradients.register(param.id, gradient);
                }
            }
        }
        let (gradients, vectors) = (GradientsParams::new(), vectors.into_iter());
        let mut put = Put::<A> { gradients, vectors };
        module.visit(&mut put);
        Self(put.gradients)
    }

    /// Takes the gradients of some parameters out, in the form of burn's optimisers.
    pub(crate) fn take<A: AutodiffBackend, M: Module<A>>(
        &mut self,
        ids: &[ParamId],
        module: &M,
    ) -> GradientsParams {
        struct Take<'a> {
            from: &'a mut GradientsParams,
            taken: GradientsParams,
            ids: &'a [ParamId],
        }

        impl<A: AutodiffBackend> ModuleVisitor<A> for Take<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
                if !self.ids.contains(&param.id) {
                    return;
                }
                if let Some(gradient) = self.from.remove::<A::InnerBackend, D>(param.id) {
                    self.taken.register(param.id, gradient);
                }
            }
        }
        let mut take = Take { from: &mut self.0, taken: GradientsParams::new(), ids };
        module.visit(&mut take);
        take.taken
    }
}

/// The sum of all squares, with the same bits each time.
///
/// Rows are summed on the device, and their sums are added here, in their order: burn-flex 0.21
/// (`reduce.rs`) sums a large tensor as a whole in parts that its threads add as they come.
pub(crate) fn sum_of_squares<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> f64 {
    let rows = tensor.square().sum_dim(D - 1).into_data();
    rows.iter::<f64>().sum()
}

/// The same parameters as leaves that no graph knows yet, in the type that is computed in.
///
/// A leaf is used in one graph only: burn 0.21 with its `distributed` feature, which CUDA brings,
/// loses gradients of a leaf that an earlier backward pass has already cleaned up.
pub(crate) fn leaves<A: AutodiffBackend, M: Module<A>>(module: M, dtype: FloatDType) -> M {
    struct Leaf(FloatDType);

    impl<A: AutodiffBackend> ModuleMapper<A> for Leaf {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<A, D>>) -> Param<Tensor<A, D>> {
            let (id, tensor, mapper) = param.consume();
            let trained = tensor.is_require_grad();
            let leaf = Tensor::from_inner(tensor.inner().cast(self.0)).set_require_grad(trained);
            Param::from_mapped_value(id, leaf, mapper)
        }
    }
    module.map(&mut Leaf(dtype))
}

/// How many numbers are trained.
pub fn trained_parameters<B: Backend, M: Module<B>>(module: &M) -> usize {
    struct Count(usize);

    impl<B: Backend> ModuleVisitor<B> for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let value = param.val();
            if value.is_require_grad() {
                self.0 += value.shape().num_elements();
            }
        }
    }
    let mut count = Count(0);
    module.visit(&mut count);
    count.0
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use burn_flex::{Flex, FlexDevice};

    use super::*;

    #[test]
    fn squares_of_a_large_matrix_have_one_sum() {
        // More numbers than flex leaves to one thread.
        let shape = [2100_usize, 2048];
        let numbers = (0..shape[0] * shape[1]).map(|at| (at as f32 * 0.37).sin());
        let numbers: Vec<f32> = numbers.collect();
        let exact: f64 = numbers.iter().map(|&number| f64::from(number).powi(2)).sum();
        let matrix = Tensor::<Flex, 2>::from_data(TensorData::new(numbers, shape), &FlexDevice);
        let sums: Vec<f64> = (0..8).map(|_| sum_of_squares(matrix.clone())).collect();
        assert!((sums[0] - exact).abs() < 1e-6 * exact, "{} for {exact}", sums[0]);
        assert!(sums.iter().all(|sum| sum.to_bits() == sums[0].to_bits()), "{sums:?}");
    }
}
