//! The bytes of one entry: a version, then the entry in postcard's form.
//!
//! Postcard, because it is compact (a blank entry takes 4 bytes), has a written
//! specification, and needs no names of fields: what an alpha of OpenRaft calls
//! them does not matter. Their order does, hence the version. The log id is in
//! there once more and must be the record's own: an entry that was moved does
//! not pass for another.

use std::io;

use afterimage_engine::{Entry, EntryKind};
use openraft::entry::RaftEntry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Config, LogId, position, to_log_id};
use crate::error::{invalid_data, invalid_input};

/// Of the encoding of entries and of snapshots' metadata.
const VERSION: u8 = 1;

pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_extend(value, vec![VERSION])
        .map_err(|e| invalid_input(format!("can't be serialised: {e}")))
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> io::Result<T> {
    let Some((&version, rest)) = bytes.split_first() else {
        return Err(invalid_data(format!("{what}: empty")));
    };
    if version != VERSION {
        return Err(invalid_data(format!(
            "{what}: encoding version {version}, this build knows {VERSION}"
        )));
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok((_, more)) => Err(invalid_data(format!("{what}: {} bytes more", more.len()))),
        Err(e) => Err(invalid_data(format!("{what}: {e}"))),
    }
}

/// Every entry is a command to the engine: what kind it is stands in its bytes.
pub(crate) fn to_entry<C: Config>(entry: &C::Entry, now_ms: i64) -> io::Result<Entry> {
    let (index, term) = position(&log_id::<C>(entry));
    Ok(Entry {
        index,
        term,
        kind: EntryKind::Command,
        timestamp_ms: now_ms,
        data: encode(entry)?.into(),
    })
}

pub(crate) fn from_entry<C: Config>(entry: &Entry) -> io::Result<C::Entry> {
    let what = format!("entry {}", entry.index);
    let decoded: C::Entry = decode(&entry.data, &what)?;
    let found = log_id::<C>(&decoded);
    match to_log_id((entry.index, entry.term)) == Some(found) {
        true => Ok(decoded),
        false => Err(invalid_data(format!("{what} says that it is {found}"))),
    }
}

pub(crate) fn log_id<C: Config>(entry: &C::Entry) -> LogId {
    let (leader, index) = entry.log_id_parts();
    LogId::new(*leader, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_else() {
        let bytes = encode(&(7_u64, "seven".to_owned())).unwrap();
        let value: (u64, String) = decode(&bytes, "it").unwrap();
        assert_eq!(value, (7, "seven".to_owned()));

        let error = |bytes: &[u8]| decode::<(u64, String)>(bytes, "it").unwrap_err();
        assert!(error(&[]).to_string().contains("empty"));
        assert!(error(&bytes[..4]).to_string().contains("it: "));
        let longer = [&bytes[..], &[0]].concat();
        assert!(error(&longer).to_string().contains("1 bytes more"));
        let newer = [&[VERSION + 1], &bytes[1..]].concat();
        assert!(error(&newer).to_string().contains("encoding version 2"));
    }
}
