//! Opening the devices of a configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pagecast_backends::{
    Backend, BackendError, FileBackend, FileOptions, MemoryBackend, OpenError, PageCache,
};
use pagecast_core::scsi::{
    DiskModel, Identity, Limits, LogicalUnit, ModelError, Naa, Provisioning, UnitId,
};
use pagecast_memory::Memory;
use pagecast_rdma::windows::{Source, WindowService};
use thiserror::Error;

use super::Parts;
use crate::config::{DeviceConfig, OwnFiles, Store, Uuid, ZeroCopy};
use crate::device::reservations::{DeviceNames, LoadError, ReservationFile};
use crate::device::{Device, ServedSize};
use crate::identity::{DeviceIdentity, MachineId};
use crate::staging::CHUNK;

/// Bytes that one command moves at most, however much staging memory there is.
const MAX_TRANSFER: usize = 4 << 20;

/// Bytes that one WRITE SAME writes at most, so that it ends well before its timeout where no hole can be punched.
const MAX_WRITE_SAME: u32 = 32 << 20;

/// Bytes that one command moves at most; VPD page B0h tells initiators. It has to fit a shard's staging memory, twice for
/// VERIFY, which compares.
pub fn max_transfer(staging: usize) -> u32 {
    let chunks = (staging / CHUNK).saturating_sub(1) / 2;
    (chunks * CHUNK).clamp(CHUNK, MAX_TRANSFER) as u32
}

/// The least staging memory of a shard that serves every command.
pub const MIN_STAGING: usize = 3 * CHUNK;

/// A device that cannot be opened.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// Its store is not for it.
    #[error("device {name}: {what}; {remedy}")]
    Refused {
        /// Which device.
        name: String,
        /// Why.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Its store cannot.
    #[error("device {name}: {source}")]
    Open {
        /// Which device.
        name: String,
        /// Why.
        source: OpenError,
    },
    /// Its reservations cannot be loaded.
    #[error("device {name}: {source}")]
    Reservations {
        /// Which device.
        name: String,
        /// Why.
        source: LoadError,
    },
    /// It does not make a disk.
    #[error("device {name}: {source}")]
    Model {
        /// Which device.
        name: String,
        /// Why.
        source: ModelError,
    },
    /// Its size is no multiple of its block size.
    #[error(
        "device {name}: {size} bytes are not a multiple of the block size {block_size}; \
         change \"block_size\", or the size of the file"
    )]
    Size {
        /// Which device.
        name: String,
        /// Bytes in the store.
        size: u64,
        /// Bytes in a block.
        block_size: u32,
    },
}

/// What a device needs to know of the process that it is in.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Tells it from the same one elsewhere.
    pub machine: &'a MachineId,
    /// The state directory.
    pub state: &'a Path,
    /// What no device may have as its store.
    pub own: &'a OwnFiles,
    /// Who registers its windows.
    pub windows: &'a Arc<WindowService>,
    /// I/O threads.
    pub shards: usize,
    /// Bytes that one command moves at most.
    pub max_transfer: u32,
    /// Relative identifiers of the SCSI ports that it is seen through.
    pub ports: Vec<u16>,
}

/// Opens a device's store and makes a disk of it.
pub fn open(
    index: usize,
    config: &DeviceConfig,
    around: Surroundings<'_>,
    parts: &mut dyn Parts,
) -> Result<Device, DeviceError> {
    let Surroundings {
        machine,
        state,
        own,
        windows,
        shards,
        max_transfer,
        ports,
    } = around;
    check_store(config, own)?;
    let name = config.name.to_string();
    let backend = open_store(config).map_err(|source| DeviceError::Open {
        name: name.clone(),
        source,
    })?;
    let backend = parts.store(config, backend);
    let mut model = model(config, machine, &*backend, max_transfer)?;
    model.ports = ports;
    let unit =
        LogicalUnit::new(UnitId(index as u32), model).map_err(|source| DeviceError::Model {
            name: name.clone(),
            source,
        })?;
    let identity = &unit.model().identity;
    let names = DeviceNames {
        naa: identity.naa.to_string(),
        uuid: (identity.uuid).map_or_else(String::new, |uuid| Uuid(uuid).to_string()),
    };
    let reservations = ReservationFile::new(state, &name, names);
    let table = reservations
        .load(unit.model().limits.max_registrants as usize)
        .map_err(|source| DeviceError::Reservations {
            name: name.clone(),
            source,
        })?;
    if let Some(table) = table {
        unit.reservations().restore(table);
    }
    let page_cache = match config.zero_copy {
        ZeroCopy::Off => None,
        ZeroCopy::Auto | ZeroCopy::Pinned | ZeroCopy::Odp => backend.page_cache(),
    };
    let size = ServedSize::new(backend.properties().size);
    let windows = page_cache.map(|cache| {
        let size = size.clone();
        windows.device(Arc::new(MappedStore { cache, size }), &name)
    });
    tracing::info!(device = %name, size = backend.properties().size, store = %backend.properties().description, "device opened");
    Ok(Device::new(
        index,
        name,
        Arc::new(unit),
        reservations,
        backend,
        config.store.path().cloned().unwrap_or_else(PathBuf::new),
        config.clone(),
        size,
        windows,
        shards,
    ))
}

/// Sees whether a device may have the store that it is to have.
pub(super) fn check_store(config: &DeviceConfig, own: &OwnFiles) -> Result<(), DeviceError> {
    own.refuse(config)
        .map_err(|(what, remedy)| DeviceError::Refused {
            name: config.name.to_string(),
            what,
            remedy,
        })
}

fn open_store(config: &DeviceConfig) -> Result<Arc<dyn Backend>, OpenError> {
    Ok(match &config.store {
        Store::File { path } | Store::Block { path } => {
            Arc::new(FileBackend::open(&FileOptions {
                path: path.clone(),
                read_only: config.read_only,
            })?)
        }
        Store::Memory { size } => Arc::new(MemoryBackend::create(size.bytes())?),
    })
}

fn model(
    config: &DeviceConfig,
    machine: &MachineId,
    backend: &dyn Backend,
    max_transfer: u32,
) -> Result<DiskModel, DeviceError> {
    let name = || config.name.to_string();
    let properties = backend.properties();
    let block_size = config.block_size;
    if !properties.size.is_multiple_of(u64::from(block_size)) {
        return Err(DeviceError::Size {
            name: name(),
            size: properties.size,
            block_size,
        });
    }
    let identity = DeviceIdentity::of(machine, config);
    let naa = Naa::new(identity.naa.bytes()).map_err(|source| DeviceError::Model {
        name: name(),
        source,
    })?;
    let mut model = DiskModel::new(
        Identity::new(identity.serial, naa),
        block_size,
        properties.size / u64::from(block_size),
    );
    model.identity.uuid = Some(identity.uuid.0);
    model.read_only = config.read_only || properties.read_only;
    model.write_cache = config.write_cache;
    model.rotational = properties.rotational;
    model.command_timeout =
        u32::try_from(config.command_timeout.duration().as_secs()).unwrap_or(30);
    model.limits = Limits {
        max_transfer_blocks: max_transfer / block_size,
        max_registrants: if config.reservations {
            config.max_registrants
        } else {
            0
        },
        ..Limits::default()
    };
    let physical = properties.physical_block_size / block_size;
    if physical.is_power_of_two() {
        model.physical_exponent = physical.trailing_zeros() as u8;
    }
    // Also where nobody may write: then UNMAP is there, and write protected like every other change.
    if properties.can_discard {
        model.provisioning = Some(Provisioning {
            zeroes: properties.discard_zeroes,
            granularity_blocks: properties.discard_granularity / block_size,
            ..Provisioning::default()
        });
        // WRITE SAME (10) can name as many.
        model.limits.max_write_same_blocks = (MAX_WRITE_SAME / block_size).min(0xffff);
    }
    Ok(model)
}

/// A backend's page cache, as windows want to see it.
#[derive(Debug)]
struct MappedStore {
    cache: Arc<dyn PageCache>,
    size: ServedSize,
}

impl Source for MappedStore {
    fn memory(&self, writable: bool) -> io::Result<Arc<dyn Memory>> {
        self.cache.memory(writable).map_err(error)
    }

    fn populate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.cache.populate(offset, length).map_err(error)
    }

    fn size(&self) -> u64 {
        self.size.bytes()
    }
}

fn error(error: BackendError) -> io::Error {
    io::Error::other(error)
}
