//! Errors that only a simulated disk gives.

use std::io;

use thiserror::Error;

use super::FaultKind;
use afterimage_engine::Error as EngineError;

/// Why the simulation, rather than the filesystem, refused an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum DiskError {
    #[error("the handle belongs to an incarnation that is gone")]
    Fenced,
    #[error("the power is off")]
    PowerLost,
    #[error("injected {0}")]
    Injected(FaultKind),
    #[error("the filesystem is read-only since an error")]
    ReadOnly,
    #[error("the sector at offset {0} is unreadable")]
    Unreadable(u64),
}

impl From<DiskError> for io::Error {
    fn from(error: DiskError) -> io::Error {
        let kind = match error {
            DiskError::Injected(FaultKind::Enospc) => io::ErrorKind::StorageFull,
            DiskError::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            // EIO has no kind of its own: the real one arrives as `Other` too.
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

fn disk_error(error: &io::Error) -> Option<DiskError> {
    error.get_ref()?.downcast_ref::<DiskError>().copied()
}

/// Whether the operation was refused because its handle belongs to an
/// incarnation that is gone: it changed nothing.
pub fn is_fenced(error: &io::Error) -> bool {
    disk_error(error) == Some(DiskError::Fenced)
}

/// Whether the operation failed because an armed power cut fired, in it or
/// before it.
pub fn is_power_lost(error: &io::Error) -> bool {
    disk_error(error) == Some(DiskError::PowerLost)
}

/// Whether the error was injected: by a fail trigger, by a space limit, or by
/// what an injected fault left behind.
pub fn is_injected(error: &io::Error) -> bool {
    matches!(
        disk_error(error),
        Some(DiskError::Injected(_) | DiskError::ReadOnly | DiskError::Unreadable(_))
    )
}

/// Whether a fault of the plan is to blame for this error of the engine.
pub(crate) fn is_excused(error: &EngineError) -> bool {
    match error {
        EngineError::Io { source, .. } => is_injected(source) || is_power_lost(source),
        // The failed operation that poisoned was reported where it happened.
        EngineError::Poisoned => true,
        _ => false,
    }
}

/// Whether the engine says that its files are corrupt: such an error names the
/// file and the offset.
pub(crate) fn is_corruption(error: &EngineError) -> bool {
    matches!(error, EngineError::Corrupt { .. })
}
