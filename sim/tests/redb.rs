//! A real database of somebody else, explored for what it promises: redb, which
//! lets its storage be replaced. What a committed transaction wrote is there
//! after any crash, and nothing of one that was not committed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use afterimage_sim::explore::{Acks, Explore, Level, Outcome};
use afterimage_sim::fs::{File, FileExt, Fs, SyncMode};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

const FILE: &str = "db";
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");
const PUTS: u64 = 3;
/// In a row, at the most. Each check puts one key more.
const CRASHES: u32 = 3;

/// A file of a simulated disk, as redb sees it.
#[derive(Debug)]
struct Backend(Box<dyn File>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync(SyncMode::Data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// Syncs that do nothing.
#[derive(Debug)]
struct Forgetful(Backend);

impl StorageBackend for Forgetful {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn value(key: u64) -> Vec<u8> {
    vec![key as u8; 900]
}

fn put(db: &Database, key: u64) -> Outcome {
    let transaction = db.begin_write()?;
    transaction
        .open_table(TABLE)?
        .insert(key, value(key).as_slice())?;
    transaction.commit()?;
    Ok(())
}

/// redb has no notion of a directory: that the file has a name is for its user
/// to see to.
fn create(fs: &dyn Fs) -> Result<Backend, io::Error> {
    let file = fs.create_new(Path::new(FILE))?;
    fs.sync_dir(Path::new("."))?;
    Ok(Backend(file))
}

fn fill(db: &Database, acks: &Acks<u64>) -> Outcome {
    // The database itself.
    acks.ack(0);
    for key in 1..=PUTS {
        put(db, key)?;
        acks.ack(key);
    }
    Ok(())
}

fn check(fs: Arc<dyn Fs>, acked: &[u64]) -> Outcome {
    let Some(last) = acked.last().copied() else {
        // Nothing was promised, not even that there is a database.
        return Ok(());
    };
    let mut db = Database::builder().create_with_backend(Backend(fs.open(Path::new(FILE))?))?;
    if !db.check_integrity()? {
        return Err("it opened, and had to be repaired then".into());
    }
    let mut found = 0;
    match db.begin_read()?.open_table(TABLE) {
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        table => {
            for entry in table?.iter()? {
                let (key, bytes) = entry?;
                found += 1;
                if key.value() != found || bytes.value() != value(found) {
                    return Err(format!("{} is not what was put", key.value()).into());
                }
            }
        }
    }
    if found < last || found > PUTS + u64::from(CRASHES) {
        return Err(format!("committed up to {last}, found up to {found}").into());
    }
    put(&db, found + 1)
}

#[test]
fn what_redb_committed_is_there_after_every_crash() {
    let explored = Explore::new().level(Level::Torn).depth(1).run(
        |fs, acks| {
            fill(
                &Database::builder().create_with_backend(create(&*fs)?)?,
                acks,
            )
        },
        check,
    );
    explored.assert();
    assert!(explored.counts.recoveries > 300, "{:?}", explored.counts);
}

#[test]
fn and_in_its_recoveries_by_chance() {
    let explored = Explore::new().depth(CRASHES).run_seeds(
        300,
        |fs, acks| {
            fill(
                &Database::builder().create_with_backend(create(&*fs)?)?,
                acks,
            )
        },
        check,
    );
    explored.assert();
}

#[test]
fn without_its_syncs_redb_loses_what_it_committed() {
    let explored = Explore::new().level(Level::TwoFlips).depth(1).run(
        |fs, acks| {
            let backend = Forgetful(create(&*fs)?);
            fill(&Database::builder().create_with_backend(backend)?, acks)
        },
        check,
    );
    let failure = explored.failure.expect("it was told to forget");
    assert!(failure.trace.contains("FAIL"), "{failure}");
}
