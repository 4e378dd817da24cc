//! What a machine has of CUDA, found out before the runtime is started: it panics where a part is
//! missing.

use cudarc::driver::result::device;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use crate::{DeviceError, DeviceSpec};

/// The GPU's name, if everything that the runtime needs is there.
pub(crate) fn probe(index: usize) -> Result<String, DeviceError> {
    let missing =
        |reason: String| DeviceError::NotOnMachine { device: DeviceSpec::Cuda(index), reason };
    #[expect(unsafe_code, reason = "loading a shared library to see whether it is there")]
    // SAFETY: both functions only try to open the vendor's libraries, which the runtime opens next.
    let (driver, compiler) =
        unsafe { (sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present()) };
    if !driver {
        return Err(missing("the NVIDIA driver (libcuda) was not found".into()));
    }
    if !compiler {
        return Err(missing("the CUDA run-time compiler (libnvrtc) was not found".into()));
    }
    if !cubecl::cuda::install::cuda_path().is_some_and(|path| has_headers(&path)) {
        return Err(missing(
            "the CUDA headers (cuda_fp16.h) were not found; set CUDA_PATH to the folder of a CUDA \
             toolkit, or of the wheels nvidia-cuda-runtime, -crt and -cccl"
                .into(),
        ));
    }
    let answers = |error| missing(format!("the NVIDIA driver answers {error:?}"));
    let count = cudarc::driver::CudaContext::device_count().map_err(answers)?;
    let number = i32::try_from(index).ok().filter(|&number| number < count);
    let number =
        number.ok_or_else(|| missing(format!("it has {count} CUDA devices, numbered from 0")))?;
    let name = device::get(number).and_then(device::get_name).map_err(answers)?;
    Ok(format!("{name} (CUDA, GPU {index} of {count})"))
}

fn has_headers(toolkit: &std::path::Path) -> bool {
    toolkit.join("include/cuda_fp16.h").is_file()
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
    let mut driver = 0;
    #[expect(unsafe_code, reason = "asking the driver for its version")]
    // SAFETY: the driver was found, and writes one number to where it is told.
    let answer = unsafe { sys::cuDriverGetVersion(&raw mut driver) };
    answer.result().ok()?;
    Some(format!("cuda-{driver}-sm_{major}{minor}"))
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
