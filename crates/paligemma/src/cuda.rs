//! What a machine has of CUDA, found out before the runtime is started: it panics where a part is
//! missing.

use std::fmt::{self, Display, Formatter};

use cudarc::driver::result::device;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use crate::{DeviceError, DeviceSpec};

mod headers;

/// A version of CUDA: what a driver runs, or what a compiler is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: i32,
    minor: i32,
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The GPU's name, if everything that the runtime needs is there.
pub(crate) fn probe(index: usize) -> Result<String, DeviceError> {
    parts().map_err(|reason| not_on_machine(index, reason))?;
    name(index).map_err(|reason| not_on_machine(index, reason))
}

/// Has the runtime find all that it needs for GPU `index`, from the next kernel that it compiles on.
pub(crate) fn provide(index: usize) -> Result<(), DeviceError> {
    let provided = parts().and_then(headers::provide);
    provided.map_err(|reason| not_on_machine(index, reason))
}

fn not_on_machine(index: usize, reason: String) -> DeviceError {
    DeviceError::NotOnMachine { device: DeviceSpec::Cuda(index), reason }
}

/// The compiler's version, if driver, compiler and headers are there and fit one another.
fn parts() -> Result<Version, String> {
    #[expect(unsafe_code, reason = "loading a shared library to see whether it is there")]
    // SAFETY: both functions only try to open the vendor's libraries, which the runtime opens next.
    let (driver, compiler) =
        unsafe { (sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present()) };
    if !driver {
        return Err("the NVIDIA driver (libcuda) was not found".into());
    }
    if !compiler {
        return Err("the CUDA run-time compiler (libnvrtc) was not found".into());
    }
    let compiler = compiler_version().ok_or("libnvrtc does not tell its version")?;
    if let Some(driver) = driver_version() {
        fit(driver, compiler)?;
    }
    headers::look(compiler)?;
    Ok(compiler)
}

/// Kernels are compiled to PTX, which a driver reads up to its own version of CUDA ("CUDA
/// Compatibility", on PTX and minor versions).
fn fit(driver: Version, compiler: Version) -> Result<(), String> {
    // The one version whose PTX is that of the version before (8.5).
    let as_before = Version { major: 12, minor: 6 };
    let needed = if compiler == as_before { Version { minor: 5, ..compiler } } else { compiler };
    if needed <= driver {
        return Ok(());
    }
    Err(format!(
        "the NVIDIA driver is of CUDA {driver} and does not run what libnvrtc of CUDA {compiler} \
         compiles: update the driver, or have a libnvrtc of CUDA {driver} found instead"
    ))
}

fn name(index: usize) -> Result<String, String> {
    let answers = |error| format!("the NVIDIA driver answers {error:?}");
    let count = cudarc::driver::CudaContext::device_count().map_err(answers)?;
    let number = i32::try_from(index).ok().filter(|&number| number < count);
    let number = number.ok_or_else(|| format!("it has {count} CUDA devices, numbered from 0"))?;
    let name = device::get(number).and_then(device::get_name).map_err(answers)?;
    Ok(format!("{name} (CUDA, GPU {index} of {count})"))
}

/// What compiled kernels depend on, the driver and the kind of GPU; nothing if there is no GPU or
/// several kinds of them.
pub(crate) fn architecture() -> Option<String> {
    let count = cudarc::driver::CudaContext::device_count().ok()?;
    let mut kinds = (0..count).map(compute_capability);
    let (major, minor) = kinds.next()??;
    if kinds.any(|kind| kind != Some((major, minor))) {
        return None;
    }
    let driver = driver_version()?;
    Some(format!("cuda-{driver}-sm_{major}{minor}"))
}

/// The newest CUDA that the driver runs.
fn driver_version() -> Option<Version> {
    let mut number = 0;
    #[expect(unsafe_code, reason = "asking the driver for its version")]
    // SAFETY: the driver was found, and writes one number to where it is told.
    let answer = unsafe { sys::cuDriverGetVersion(&raw mut number) };
    answer.result().ok()?;
    Some(Version { major: number / 1000, minor: number % 1000 / 10 })
}

fn compiler_version() -> Option<Version> {
    let mut version = Version { major: 0, minor: 0 };
    #[expect(unsafe_code, reason = "asking the compiler for its version")]
    // SAFETY: the compiler was found, and writes two numbers to where it is told.
    let answer =
        unsafe { cudarc::nvrtc::sys::nvrtcVersion(&raw mut version.major, &raw mut version.minor) };
    answer.result().ok()?;
    Some(version)
}

fn compute_capability(number: i32) -> Option<(i32, i32)> {
    let gpu = device::get(number).ok()?;
    #[expect(unsafe_code, reason = "asking the driver for a number")]
    // SAFETY: the GPU is one that the driver has just named.
    let ask = |attribute| unsafe { device::get_attribute(gpu, attribute) }.ok();
    Some((
        ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_newer_than_the_driver_is_refused() {
        let version = |major, minor| Version { major, minor };
        assert_eq!(fit(version(13, 0), version(12, 9)), Ok(()));
        assert_eq!(fit(version(13, 4), version(13, 4)), Ok(()));
        assert_eq!(fit(version(12, 5), version(12, 6)), Ok(()));
        let message = fit(version(13, 0), version(13, 4)).unwrap_err();
        assert!(message.contains("13.0") && message.contains("13.4"), "{message}");
        assert!(fit(version(12, 9), version(13, 0)).is_err());
    }
}
