//! Matrix products on a CPU: with packed weights, bfloat16, 8 and 4 bits; of f32 matrices where
//! they lie; and attention on matrix tiles.
//!
//! A published `[out, in]` matrix is packed once; products read the packed bytes wherever they
//! are, in memory or in a mapped file. The layout is the same for every CPU; the instructions are
//! chosen at run time, from plain vectors to matrix tiles. Work is split over results, each of which
//! one thread sums in one order, so they do not depend on the number of threads.
//!
//! ```
//! use paligemma_packed::{Activation, PackedFormat, PackedLayout};
//!
//! // Two outputs of three inputs, and one row of activations.
//! let weight = [[1.0, 0.0, -1.0], [0.5, 0.5, 0.5]];
//! let layout = PackedLayout { format: PackedFormat::Bf16, outputs: 2, inputs: 3 };
//! let packed = layout.pack(|row, out| out.copy_from_slice(&weight[row])).unwrap();
//! let y = layout.linear(packed.as_ref(), &[1.0, 2.0, 3.0], None, Activation::Identity);
//! assert_eq!(y, [-2.0, 3.0]);
//! ```
#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a vectorised loop is compiled without vector instructions"
)]

#[cfg(target_endian = "big")]
compile_error!("packed weights are little endian, and read as the machine reads numbers");

mod activations;
mod attention;
mod backward;
mod buffer;
pub mod dense;
mod isa;
mod kernels;
mod layout;
mod levels;
pub mod math;
mod memory;
mod pack;
mod product;
#[cfg(test)]
mod tests;
mod threads;

pub use attention::{Rows, Scoring, TileKeys};
pub use buffer::PackedBuffer;
pub use isa::{ISA_VARIABLE, Isa};
pub use layout::{MOST_INPUTS, PackedFormat, PackedLayout};
pub use memory::keep_freed_memory;
pub use pack::PackError;
pub use product::Activation;
pub use threads::compute_here;

/// Version of the layout; files of another version are not to be used.
pub const VERSION: u32 = 1;
