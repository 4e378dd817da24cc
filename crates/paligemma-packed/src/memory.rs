//! What the allocator does with memory that an operation has finished with.

/// Asks the system's allocator to keep freed memory for the next operation.
///
/// By default glibc returns large pieces to the system, which hands them out again page by page,
/// each cleared: for activations of megabytes that costs more than what is computed from them. A
/// program calls this once, before it opens a model; elsewhere than on Linux with glibc it does
/// nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // The largest threshold that glibc takes; larger pieces stay with the system.
        const MAPPED_FROM: libc::c_int = 32 << 20;
        const KEPT: libc::c_int = 1 << 30;
        #[expect(unsafe_code, reason = "a setting of the C library")]
        // SAFETY: both calls take two numbers and only change how much memory is kept.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}
