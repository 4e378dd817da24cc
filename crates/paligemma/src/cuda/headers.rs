//! The CUDA headers that compiled kernels include: those of a toolkit, or the ones that NVRTC has in
//! itself from CUDA 13.4 on, unpacked once into the user's cache folder.

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cubecl::cuda::install;
use cudarc::nvrtc::sys::culib;

use super::Version;
use crate::kernels::writable;

/// The first NVRTC whose headers are all that kernels include (those of 13.3 have no `crt/mma.h`).
const FIRST_WITH_HEADERS: Version = Version { major: 13, minor: 4 };

/// One header of each package that kernels include from: their types, the runtime's own, products on
/// tensor cores.
const USED: [&str; 3] = ["cuda_fp16.h", "cuda_runtime.h", "crt/mma.h"];

/// A header of the C++ library, which lies beside the others or, from CUDA 13 on, in `cccl`.
const LIBRARY: [&str; 2] = ["cuda/barrier", "cccl/cuda/barrier"];

/// Where the runtime looks for a toolkit first.
const TOOLKIT: &str = "CUDA_PATH";

/// `nvrtcInstallBundledHeaders`: the folder, flags, and where a message is put if it fails, which
/// gives another number than 0 then.
type Install = unsafe extern "C" fn(*const c_char, c_uint, *mut *const c_char) -> c_int;

/// What is there already stays, or is written again (`NVRTC_INSTALL_HEADERS_*`).
const KEEP: c_uint = 0;
const OVERWRITE: c_uint = 1;

/// Sees whether kernels will find their headers.
///
/// # Errors
/// There is no toolkit with all of them, and `nvrtc` has none in itself or no place for them.
pub(super) fn look(nvrtc: Version) -> Result<(), String> {
    let Some(header) = missing_of_toolkit() else { return Ok(()) };
    if of_compiler(nvrtc).is_some() {
        return unpacked(nvrtc).map(drop);
    }
    Err(format!(
        "the CUDA header {header} was not found; set {TOOLKIT} to the folder of a CUDA toolkit, or of \
         the wheels nvidia-cuda-runtime, -crt and -cccl (libnvrtc is of CUDA {nvrtc}: from \
         {FIRST_WITH_HEADERS} on it has them in itself)"
    ))
}

/// Has the runtime find headers: where there is no toolkit, those of `nvrtc` are unpacked for it.
///
/// # Errors
/// As [`look`], or they cannot be unpacked.
pub(super) fn provide(nvrtc: Version) -> Result<(), String> {
    static PROVIDED: OnceLock<Result<(), String>> = OnceLock::new();
    PROVIDED.get_or_init(|| provide_once(nvrtc)).clone()
}

fn provide_once(nvrtc: Version) -> Result<(), String> {
    look(nvrtc)?;
    let (Some(_), Some(install)) = (missing_of_toolkit(), of_compiler(nvrtc)) else {
        return Ok(());
    };
    let toolkit = unpacked(nvrtc)?;
    unpack(install, &toolkit.join("include")).map_err(|reason| {
        format!("CUDA headers cannot be unpacked into {}: {reason}", toolkit.display())
    })?;
    #[expect(unsafe_code, reason = "the runtime is told of a toolkit by the environment alone")]
    // SAFETY: no thread of this library reads the environment but through std and its lock; that no
    // other thread of the program does meanwhile is what `DeviceSpec::run` asks for.
    unsafe {
        std::env::set_var(TOOLKIT, toolkit);
    }
    Ok(())
}

/// The folder that stands for a toolkit, where it can be written or is complete.
fn unpacked(nvrtc: Version) -> Result<PathBuf, String> {
    let cache = dirs::cache_dir().ok_or("there is no cache folder for CUDA headers")?;
    let toolkit = cache.join("paligemma").join("headers").join(format!("cuda-{nvrtc}"));
    if missing(&toolkit.join("include")).is_none() || writable(toolkit.clone()).is_some() {
        return Ok(toolkit);
    }
    Err(format!("CUDA headers have no place: {} cannot be written", toolkit.display()))
}

/// A header that the toolkit which the runtime would use lacks, if there is one.
fn missing_of_toolkit() -> Option<&'static str> {
    match install::cuda_path() {
        Some(toolkit) => missing(&toolkit.join("include")),
        None => Some(USED[0]),
    }
}

fn missing(include: &Path) -> Option<&'static str> {
    let has = |name: &&str| include.join(name).is_file();
    let lacked = USED.into_iter().find(|name| !has(name));
    lacked.or_else(|| (!LIBRARY.iter().any(has)).then_some(LIBRARY[0]))
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

/// Unpacks what is missing, or everything where the folder holds only a part.
fn unpack(install: Install, include: &Path) -> Result<(), String> {
    for flags in [KEEP, OVERWRITE] {
        if missing(include).is_some() {
            call(install, include, flags)?;
            declare(include).map_err(|cause| cause.to_string())?;
        }
    }
    match missing(include) {
        None => Ok(()),
        Some(header) => Err(format!("libnvrtc did not bring {header}")),
    }
}

fn call(install: Install, include: &Path, flags: c_uint) -> Result<(), String> {
    let folder = include.to_str().ok_or("its name is not UTF-8")?;
    let folder = CString::new(folder).map_err(|cause| cause.to_string())?;
    let mut message = std::ptr::null();
    #[expect(unsafe_code, reason = "a function of a shared library")]
    // SAFETY: the folder's name ends with zero and outlives the call. Processes wait for one another.
    let result = unsafe { install(folder.as_ptr(), flags, &raw mut message) };
    if result == 0 {
        return Ok(());
    }
    if message.is_null() {
        return Err(format!("libnvrtc answers {result}"));
    }
    #[expect(unsafe_code, reason = "text of a shared library")]
    // SAFETY: the text stays until this thread calls the library again.
    let message = unsafe { CStr::from_ptr(message) };
    Err(message.to_string_lossy().into_owned())
}

/// NVRTC knows what this header declares for code on a GPU, and brings none; kernels include it.
fn declare(include: &Path) -> std::io::Result<()> {
    let header = include.join(USED[1]);
    if header.exists() { Ok(()) } else { fs::write(header, "// NVRTC declares all of it.\n") }
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
    fn a_header_of_every_package_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        for name in USED {
            assert_eq!(missing(folder.path()), Some(name));
            write(folder.path(), name);
        }
        assert_eq!(missing(folder.path()), Some(LIBRARY[0]));
        write(folder.path(), LIBRARY[1]);
        assert_eq!(missing(folder.path()), None);
    }

    #[expect(unsafe_code, reason = "stands for a function of a shared library")]
    unsafe extern "C" fn nothing(_: *const c_char, _: c_uint, _: *mut *const c_char) -> c_int {
        0
    }

    #[expect(unsafe_code, reason = "stands for a function of a shared library")]
    unsafe extern "C" fn failure(
        _: *const c_char,
        _: c_uint,
        message: *mut *const c_char,
    ) -> c_int {
        // SAFETY: `call` gives a place for the message.
        unsafe { *message = c"disk full".as_ptr() };
        7
    }

    /// Keeps what is there unless it is told to write again, as NVRTC does.
    #[expect(unsafe_code, reason = "stands for a function of a shared library")]
    unsafe extern "C" fn again(
        folder: *const c_char,
        flags: c_uint,
        _: *mut *const c_char,
    ) -> c_int {
        if flags == OVERWRITE {
            // SAFETY: `call` gives a name that ends with zero.
            let folder = unsafe { CStr::from_ptr(folder) }.to_str().unwrap();
            for name in [USED[0], USED[2], LIBRARY[0]] {
                write(Path::new(folder), name);
            }
        }
        0
    }

    #[test]
    fn unpacked_headers_are_completed_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unpack(failure, folder.path()), Err("disk full".into()));
        assert_eq!(
            unpack(nothing, folder.path()),
            Err("libnvrtc did not bring cuda_fp16.h".into())
        );
        assert_eq!(unpack(again, folder.path()), Ok(()));
        assert!(folder.path().join("cuda_runtime.h").is_file());
        // What is complete is left alone.
        assert_eq!(unpack(failure, folder.path()), Ok(()));
    }
}
