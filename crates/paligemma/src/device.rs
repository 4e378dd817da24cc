//! Which backends this build has, which devices this machine has, and the choice at run time.
//!
//! This is the only place that lists backends: whatever runs on a device chosen at run time is
//! written once, generic over `B: NnBackend`, as a [`DeviceWork`].

use std::fmt;
use std::str::FromStr;

use paligemma_nn::NnBackend;
use thiserror::Error;

/// A device by name: `auto`, `flex`, `ndarray`, `wgpu`, `cuda` or `cuda:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// The fastest device that is there: CUDA, a GPU through wgpu, the CPU.
    #[default]
    Auto,
    /// The CPU through burn-flex, with this workspace's kernels.
    Flex,
    /// The CPU through burn-ndarray.
    NdArray,
    /// A GPU through wgpu (Vulkan, Metal, DirectX 12), or Mesa's software Vulkan.
    Wgpu,
    /// An NVIDIA GPU by its number.
    Cuda(usize),
}

/// Why a device cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is not one of a device.
    #[error("unknown device `{name}`: use auto, flex, ndarray, wgpu, cuda or cuda:N")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The backend was not compiled in.
    #[error("this build has no {device}: build with `--features {feature}`")]
    NotInBuild {
        /// What was asked for.
        device: DeviceSpec,
        /// The Cargo feature that brings it.
        feature: &'static str,
    },
    /// The machine lacks the device or its driver.
    #[error("this machine has no {device}: {reason}")]
    NotOnMachine {
        /// What was asked for.
        device: DeviceSpec,
        /// What was not found.
        reason: String,
    },
}

/// A backend of this workspace, and what this build and machine make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// The device.
    pub device: DeviceSpec,
    /// What it is, in words, or why it cannot be used.
    pub status: Result<String, DeviceError>,
}

/// Work that runs on whichever backend was chosen.
pub trait DeviceWork {
    /// What it gives.
    type Output;

    /// Runs on `device` of backend `B`.
    fn run<B: NnBackend>(self, device: B::Device) -> Self::Output;
}

impl DeviceSpec {
    /// Runs `work` on this device.
    ///
    /// On CUDA without a toolkit, the first call sets `CUDA_PATH` for this process, to the headers of
    /// NVRTC: no other thread may read the environment through C's `getenv` meanwhile. A program that
    /// cannot promise this sets `CUDA_PATH` itself.
    ///
    /// # Errors
    /// If the device is not in this build or not on this machine.
    pub fn run<W: DeviceWork>(self, work: W) -> Result<W::Output, DeviceError> {
        let device = self.resolve()?;
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        if matches!(device, Self::Wgpu | Self::Cuda(_)) {
            crate::kernels::keep();
        }
        match device {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(work.run::<burn_flex::Flex>(burn_flex::FlexDevice)),
            #[cfg(feature = "ndarray")]
            Self::NdArray => {
                Ok(work.run::<burn_ndarray::NdArray>(burn_ndarray::NdArrayDevice::default()))
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(work.run::<burn_wgpu::Wgpu>(burn_wgpu::WgpuDevice::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => {
                crate::cuda::provide(index)?;
                Ok(work.run::<burn_cuda::Cuda>(burn_cuda::CudaDevice::new(index)))
            }
            _ => Err(device.not_in_build()),
        }
    }

    /// The device itself if it can be used; for [`DeviceSpec::Auto`] the best one.
    ///
    /// # Errors
    /// If the device is not in this build or not on this machine.
    pub fn resolve(self) -> Result<Self, DeviceError> {
        match self {
            Self::Auto => Ok(Self::best()),
            device => device.probe().map(|_| device),
        }
    }

    /// Whether the first work on this device compiles its kernels, which may take a minute: it is
    /// CUDA, and no process of this user has run on it yet.
    pub fn compiles_first(self) -> bool {
        match self.resolve() {
            #[cfg(feature = "cuda")]
            Ok(Self::Cuda(_)) => crate::kernels::cuda_is_new(),
            _ => false,
        }
    }

    /// Every backend of this workspace and whether it can be used here.
    pub fn all() -> Vec<DeviceStatus> {
        let status = |device: Self| DeviceStatus { device, status: device.probe() };
        [Self::Cuda(0), Self::Wgpu, Self::Flex, Self::NdArray].map(status).into()
    }

    fn best() -> Self {
        let software = |status: &str| status.contains(SOFTWARE);
        let gpu = [Self::Cuda(0), Self::Wgpu]
            .into_iter()
            .find(|device| device.probe().is_ok_and(|status| !software(&status)));
        let usable = |device: &Self| device.probe().is_ok();
        gpu.or_else(|| [Self::Flex, Self::NdArray, Self::Wgpu].into_iter().find(usable))
            .unwrap_or(Self::Flex)
    }

    /// What the device is, in words.
    fn probe(self) -> Result<String, DeviceError> {
        match self {
            Self::Auto => Ok(format!("{}, the best that is there", Self::best())),
            Self::Flex if cfg!(feature = "flex") => Ok(cpu("burn-flex with fused kernels")),
            Self::NdArray if cfg!(feature = "ndarray") => Ok(cpu("burn-ndarray")),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => wgpu_adapter(),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => crate::cuda::probe(index),
            _ => Err(self.not_in_build()),
        }
    }

    fn not_in_build(self) -> DeviceError {
        let feature = match self {
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda(_) => "cuda",
            Self::Auto | Self::Flex => "flex",
        };
        DeviceError::NotInBuild { device: self, feature }
    }
}

/// How the status of a device that only imitates a GPU is told from others.
const SOFTWARE: &str = "software";

fn cpu(by: &str) -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("CPU, {threads} threads, by {by}")
}

#[cfg(feature = "wgpu")]
fn wgpu_adapter() -> Result<String, DeviceError> {
    // The runtime panics without an adapter, so it is asked for here first.
    let instance = wgpu::Instance::default();
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let rank = |kind| match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let best = adapters.iter().map(wgpu::Adapter::get_info).min_by_key(|i| rank(i.device_type));
    match best {
        Some(info) if info.device_type == wgpu::DeviceType::Cpu => {
            Ok(format!("{} ({:?}, {SOFTWARE})", info.name, info.backend))
        }
        Some(info) => Ok(format!("{} ({:?})", info.name, info.backend)),
        None => Err(DeviceError::NotOnMachine {
            device: DeviceSpec::Wgpu,
            reason: "no Vulkan, Metal or DirectX 12 adapter was found; install a graphics driver"
                .into(),
        }),
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { name: name.to_owned() };
        match name {
            "auto" => Ok(Self::Auto),
            "flex" => Ok(Self::Flex),
            "ndarray" => Ok(Self::NdArray),
            "wgpu" => Ok(Self::Wgpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = name.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Flex => f.write_str("flex"),
            Self::NdArray => f.write_str("ndarray"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "flex", "ndarray", "wgpu", "cuda:3"] {
            assert_eq!(name.parse::<DeviceSpec>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "cuda:", "cuda:x", "wgpu:0"] {
            assert!(name.parse::<DeviceSpec>().is_err(), "{name} was taken for a device");
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn what_is_not_in_the_build_names_its_feature() {
        let error = DeviceSpec::Cuda(0).resolve().unwrap_err();
        assert_eq!(error.to_string(), "this build has no cuda:0: build with `--features cuda`");
    }

    #[test]
    fn auto_is_a_device_that_works() {
        let device = DeviceSpec::Auto.resolve().unwrap();
        assert!(device.probe().is_ok());
    }
}
