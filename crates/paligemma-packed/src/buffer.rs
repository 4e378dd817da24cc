//! Memory for packed weights.

use std::io;

use memmap2::MmapMut;

/// Bytes of a packed matrix: page-aligned, and in huge pages where the system has them, because a
/// product of one row reads them all once and address look-ups would cost as much as the reads.
#[derive(Debug)]
pub struct PackedBuffer(MmapMut);

impl PackedBuffer {
    /// Zeroed memory.
    ///
    /// # Errors
    /// If the system has none left.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let map = MmapMut::map_anon(bytes)?;
        #[cfg(target_os = "linux")]
        {
            // Only advice: without it the memory serves as well, a little slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self(map))
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl AsRef<[u8]> for PackedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
