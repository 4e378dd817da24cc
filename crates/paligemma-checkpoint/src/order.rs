//! Tensors whose axes lie in another order in their file, and the way there and back.

use std::ops::Range;

/// How the elements of a tensor lie in its file: row by row, but with the axes in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Length of each of the tensor's axes, none of them merged, and how many elements of the file
    /// lie between neighbours along it.
    axes: Vec<(usize, usize)>,
}

impl Order {
    /// The order of a tensor made of a file's axes of these `lengths`, which it has in the order
    /// `axes`.
    pub(crate) fn new(lengths: &[usize], axes: &[usize]) -> Self {
        let step = |axis: usize| lengths[axis + 1..].iter().product();
        Self { axes: axes.iter().map(|&axis| (lengths[axis], step(axis))).collect() }
    }

    /// Whether the elements lie as the tensor has them.
    pub(crate) fn is_plain(&self) -> bool {
        let lengths: Vec<usize> = self.axes.iter().map(|(length, _)| *length).collect();
        let plain: Vec<usize> = (0..lengths.len()).collect();
        Self::new(&lengths, &plain) == *self
    }

    /// The elements, of `size` bytes each, as the tensor has them.
    pub(crate) fn sorted(&self, file: &[u8], size: usize) -> Vec<u8> {
        let mut out = vec![0; file.len()];
        match size {
            2 => fill(file.as_chunks::<2>().0, out.as_chunks_mut::<2>().0, 0, &self.axes),
            _ => fill(file.as_chunks::<4>().0, out.as_chunks_mut::<4>().0, 0, &self.axes),
        }
        out
    }

    /// Some of these elements, by their places in the tensor.
    pub(crate) fn part(&self, file: &[u8], size: usize, places: Range<usize>) -> Vec<u8> {
        places.flat_map(|place| &file[self.of(place) * size..][..size]).copied().collect()
    }

    /// Where in the file an element of the tensor lies.
    fn of(&self, mut place: usize) -> usize {
        let mut found = 0;
        for (length, step) in self.axes.iter().rev() {
            found += place % length * step;
            place /= length;
        }
        found
    }
}

fn fill<const N: usize>(
    file: &[[u8; N]],
    out: &mut [[u8; N]],
    start: usize,
    axes: &[(usize, usize)],
) {
    match axes {
        [] => out.copy_from_slice(&file[start..=start]),
        [(_, 1)] => out.copy_from_slice(&file[start..start + out.len()]),
        [(_, step)] => {
            for (place, element) in out.iter_mut().enumerate() {
                *element = file[start + place * step];
            }
        }
        [(length, step), others @ ..] => {
            // Without elements there is nothing to fill.
            let part = (out.len() / (*length).max(1)).max(1);
            for (place, part) in out.chunks_exact_mut(part).enumerate() {
                fill(file, part, start + place * step, others);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements of 2 bytes whose numbers are their places.
    fn numbered(count: u16) -> Vec<u8> {
        (0..count).flat_map(u16::to_le_bytes).collect()
    }

    fn numbers(bytes: &[u8]) -> Vec<u16> {
        bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn axes_change_places_and_come_back() {
        // As numpy has it: np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1).ravel()
        let order = Order::new(&[2, 3, 4], &[2, 0, 1]);
        let expected =
            [0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23];
        let sorted = order.sorted(&numbered(24), 2);
        assert_eq!(numbers(&sorted), expected);
        assert_eq!(numbers(&order.part(&numbered(24), 2, 4..9)), expected[4..9]);
        assert!(!order.is_plain());
        let back = Order::new(&[4, 2, 3], &[1, 2, 0]);
        assert_eq!(back.sorted(&sorted, 2), numbered(24));
    }

    #[test]
    fn four_byte_elements_and_empty_tensors() {
        let bytes: Vec<u8> = (0..6_u32).flat_map(u32::to_le_bytes).collect();
        let turned = Order::new(&[2, 3], &[1, 0]).sorted(&bytes, 4);
        let expected: Vec<u8> =
            [0_u32, 3, 1, 4, 2, 5].iter().flat_map(|n| n.to_le_bytes()).collect();
        assert_eq!(turned, expected);
        assert!(Order::new(&[2, 3], &[0, 1]).is_plain());
        assert!(Order::new(&[2, 0], &[1, 0]).sorted(&[], 4).is_empty());
    }
}
