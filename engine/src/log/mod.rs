//! The log: records in segments, one writer, readers that open only what they
//! need, and a cleaner that removes what a snapshot covers.

pub(crate) mod cleaner;
mod frames;
pub(crate) mod new_segment;
pub(crate) mod pins;
pub(crate) mod places;
pub(crate) mod preparer;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod unsynced;
pub(crate) mod writer;
