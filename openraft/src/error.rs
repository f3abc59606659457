//! The engine's errors as OpenRaft wants them.

use std::io;

use afterimage_engine::Error;

/// Keeps the engine's error, and the kind of what the system said.
pub(crate) fn to_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::Io { source, .. } => source.kind(),
        Error::Corrupt { .. } | Error::Version { .. } => io::ErrorKind::InvalidData,
        Error::Misuse(_) => io::ErrorKind::InvalidInput,
        Error::Locked { .. } => io::ErrorKind::WouldBlock,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

pub(crate) fn invalid_data(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(crate) fn invalid_input(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
