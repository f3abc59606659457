//! The state machine: a map, shared with those who read it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afterimage_engine::store::SnapshotSource;
use afterimage_openraft::{LogId, Machine};
use serde::{Deserialize, Serialize};

use crate::Types;

pub type Map = BTreeMap<String, u64>;

/// The one command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Put {
    pub key: String,
    pub value: u64,
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, self.value)
    }
}

#[derive(Clone, Default)]
pub struct Kv {
    map: Arc<Mutex<Map>>,
    /// A snapshot on its way in.
    arriving: Vec<u8>,
}

impl Kv {
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn read(&self) -> Map {
        self.lock().clone()
    }
}

impl Machine<Types> for Kv {
    fn apply(&mut self, _: LogId, command: Option<Put>) {
        if let Some(Put { key, value }) = command {
            self.lock().insert(key, value);
        }
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        let bytes = postcard::to_stdvec(&*self.lock()).expect("a map of numbers");
        Box::new(Frozen(bytes.into_iter()))
    }

    fn reset(&mut self) {
        self.lock().clear();
        self.arriving.clear();
    }

    fn restore(&mut self, piece: &[u8]) {
        self.arriving.extend(piece);
    }

    fn restored(&mut self) -> Result<(), String> {
        let bytes = std::mem::take(&mut self.arriving);
        *self.lock() = postcard::from_bytes(&bytes).map_err(|e| e.to_string())?;
        Ok(())
    }
}

struct Frozen(std::vec::IntoIter<u8>);

impl SnapshotSource for Frozen {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        out.extend(self.0.by_ref().take(max));
        self.0.len() > 0
    }
}
