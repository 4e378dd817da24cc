//! The CUDA headers that compiled kernels include: those of a toolkit, or the ones that NVRTC has in
//! itself from CUDA 13.4 on, unpacked once into the user's cache folder.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_uint};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cubecl::cuda::install;
use cudarc::nvrtc::sys::{culib, nvrtcResult};

use super::Version;

/// The first NVRTC whose headers are all that kernels include (those of 13.3 have no `crt/mma.h`).
const FIRST_WITH_HEADERS: Version = Version { major: 13, minor: 4 };

/// One header of each package that kernels include from: their types, the runtime's own, products on
/// tensor cores.
const USED: [&str; 3] = ["cuda_fp16.h", "cuda_runtime.h", "crt/mma.h"];

/// A header of the C++ library, which lies beside the others or, from CUDA 13 on, in `cccl`.
const LIBRARY: [&str; 2] = ["cuda/barrier", "cccl/cuda/barrier"];

/// Where the runtime looks for a toolkit first.
const TOOLKIT: &str = "CUDA_PATH";

/// `nvrtcInstallBundledHeaders`: the folder, flags, and where a message is put.
type Install = unsafe extern "C" fn(*const c_char, c_uint, *mut *const c_char) -> nvrtcResult;

/// Sees whether kernels will find their headers, and changes nothing.
///
/// # Errors
/// There is no toolkit with all of them, and `nvrtc` has none in itself.
pub(super) fn look(nvrtc: Version) -> Result<(), String> {
    if of_toolkit() || of_compiler(nvrtc).is_some() {
        return Ok(());
    }
    Err(format!(
        "CUDA headers ({} and others) were not found; set {TOOLKIT} to the folder of a CUDA toolkit, or \
         of the wheels nvidia-cuda-runtime, -crt and -cccl (libnvrtc is of CUDA {nvrtc}: from \
         {FIRST_WITH_HEADERS} on it has them in itself)",
        USED[0]
    ))
}

/// Has the runtime find headers: where there is no toolkit, those of `nvrtc` are unpacked for it.
///
/// # Errors
/// As [`look`], or the cache folder cannot be written.
pub(super) fn provide(nvrtc: Version) -> Result<(), String> {
    static PROVIDED: OnceLock<Result<(), String>> = OnceLock::new();
    PROVIDED.get_or_init(|| provide_once(nvrtc)).clone()
}

fn provide_once(nvrtc: Version) -> Result<(), String> {
    look(nvrtc)?;
    let Some(install) = of_compiler(nvrtc).filter(|_| !of_toolkit()) else {
        return Ok(());
    };
    let toolkit = dirs::cache_dir()
        .ok_or("there is no cache folder to unpack CUDA headers into: set XDG_CACHE_HOME or HOME")?
        .join("paligemma/headers")
        .join(format!("cuda-{nvrtc}"));
    unpack(install, &toolkit.join("include")).map_err(|reason| {
        format!("CUDA headers cannot be unpacked into {}: {reason}", toolkit.display())
    })?;
    #[expect(unsafe_code, reason = "the runtime is told of a toolkit by the environment alone")]
    // SAFETY: it is done once, before the runtime starts, when only threads of this library run,
    // which read the environment through std (and its lock) if at all.
    unsafe {
        std::env::set_var(TOOLKIT, toolkit);
    }
    Ok(())
}

/// Whether the toolkit that the runtime would use has every header.
fn of_toolkit() -> bool {
    install::cuda_path().is_some_and(|toolkit| complete(&toolkit.join("include")))
}

fn complete(include: &Path) -> bool {
    let has = |name: &&str| include.join(name).is_file();
    USED.iter().all(&has) && LIBRARY.iter().any(has)
}

/// What unpacks the headers that NVRTC has in itself.
fn of_compiler(nvrtc: Version) -> Option<Install> {
    if nvrtc < FIRST_WITH_HEADERS {
        return None;
    }
    #[expect(unsafe_code, reason = "a function of a shared library")]
    // SAFETY: the library was found; the type is the one of nvrtc.h (CUDA 13.4 and 13.5).
    let found = unsafe { culib().get::<Install>(b"nvrtcInstallBundledHeaders\0") };
    found.ok().map(|function| *function)
}

fn unpack(install: Install, include: &PathBuf) -> Result<(), String> {
    let text = |cause: &dyn std::fmt::Display| cause.to_string();
    fs::create_dir_all(include).map_err(|cause| text(&cause))?;
    let folder = include.to_str().ok_or("its name is not UTF-8")?;
    let folder = CString::new(folder).map_err(|cause| text(&cause))?;
    let mut message = std::ptr::null();
    #[expect(unsafe_code, reason = "a function of a shared library")]
    // SAFETY: the folder's name ends with zero and outlives the call; the message is static text of
    // the library, valid until this thread's next call. Without flags, what is there already stays,
    // and processes wait for one another.
    let (result, message) = unsafe {
        let result = install(folder.as_ptr(), 0, &raw mut message);
        (result, (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy()))
    };
    if result != nvrtcResult::NVRTC_SUCCESS {
        return Err(message.map_or_else(|| format!("{result:?}"), Cow::into_owned));
    }
    // NVRTC knows what this header declares for code on a GPU, and brings none; kernels include it.
    let declared = include.join(USED[1]);
    if !declared.exists() {
        fs::write(declared, "// NVRTC declares all of it.\n").map_err(|cause| text(&cause))?;
    }
    if complete(include) { Ok(()) } else { Err("libnvrtc brought only a part of them".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(include: &Path, name: &str) {
        let file = include.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, []).unwrap();
    }

    #[test]
    fn headers_are_complete_when_every_package_is_there() {
        let folder = tempfile::tempdir().unwrap();
        for name in USED {
            assert!(!complete(folder.path()), "without {name}");
            write(folder.path(), name);
        }
        assert!(!complete(folder.path()), "without the C++ library");
        write(folder.path(), LIBRARY[1]);
        assert!(complete(folder.path()));
    }

    #[expect(unsafe_code, reason = "stands for a function of a shared library")]
    unsafe extern "C" fn nothing(
        _: *const c_char,
        _: c_uint,
        _: *mut *const c_char,
    ) -> nvrtcResult {
        nvrtcResult::NVRTC_SUCCESS
    }

    #[expect(unsafe_code, reason = "stands for a function of a shared library")]
    unsafe extern "C" fn failure(
        _: *const c_char,
        _: c_uint,
        message: *mut *const c_char,
    ) -> nvrtcResult {
        // SAFETY: `unpack` gives a place for the message.
        unsafe { *message = c"disk full".as_ptr() };
        nvrtcResult::NVRTC_ERROR_BUILTIN_OPERATION_FAILURE
    }

    #[test]
    fn unpacked_headers_are_completed_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let include = folder.path().join("include");
        assert_eq!(unpack(failure, &include), Err("disk full".into()));
        assert_eq!(unpack(nothing, &include), Err("libnvrtc brought only a part of them".into()));
        for name in [USED[0], USED[2], LIBRARY[0]] {
            write(&include, name);
        }
        assert_eq!(unpack(nothing, &include), Ok(()));
        assert!(include.join("cuda_runtime.h").is_file());
    }
}
