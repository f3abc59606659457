//! A test, carried out on a simulated disk: the moments at which the power may
//! have gone.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use afterimage_engine::fs::{File, Fs, SyncMode};

use super::file::{LEN_MAX, START, of};
use super::{Error, Op, Test};
use crate::disk::{Profile, SimFs};

/// A file with one durable byte that every test may use, to write something
/// else; contents leave it out.
pub const OTHER: &str = "other";

/// For each label the disk as it was when that step was done, and after each
/// operation of the next step.
pub(super) fn moments(
    test: &Test,
    profile: Profile,
) -> Result<BTreeMap<String, Vec<SimFs>>, Error> {
    let disk = SimFs::with_profile(1, profile);
    let fs = disk.boot();
    let run = |op: &Op| {
        carry_out(&disk, &fs, op).map_err(|error| Error::Test {
            test: test.name.clone(),
            what: format!("{op:?}: {error}"),
        })
    };
    run(&Op::Create { file: OTHER.into() })?;
    run(&Op::Append {
        file: OTHER.into(),
        byte: 'o',
        len: 1,
    })?;
    for op in &test.setup {
        run(op)?;
    }
    disk.sync_all();

    let mut moments = BTreeMap::new();
    let mut label = START;
    for step in &test.steps {
        let mut during = vec![disk.fork()];
        for op in &step.ops {
            run(op)?;
            during.push(disk.fork());
        }
        moments.insert(label.to_owned(), during);
        label = &step.label;
    }
    moments.insert(label.to_owned(), vec![disk.fork()]);
    Ok(moments)
}

fn carry_out(disk: &SimFs, fs: &Arc<dyn Fs>, op: &Op) -> io::Result<()> {
    let open = |name: &str| fs.open(Path::new(name));
    match op {
        Op::Create { file } => fs.create_new(Path::new(file)).map(drop),
        Op::Append { file, byte, len } => {
            let file = open(file)?;
            let end = file.len()?;
            write(&*file, end, *byte, *len)
        }
        Op::Write {
            file,
            offset,
            byte,
            len,
        } => write(&*open(file)?, *offset, *byte, *len),
        Op::SetLen { file, len } => open(file)?.set_len(checked(*len)?),
        Op::Allocate { file, offset, len } => open(file)?.allocate(*offset, checked(*len)?),
        Op::Fsync { file } => open(file)?.sync(SyncMode::All),
        Op::Fdatasync { file } => open(file)?.sync(SyncMode::Data),
        Op::FsyncDir => fs.sync_dir(Path::new(".")),
        Op::Sync => {
            disk.sync_all();
            Ok(())
        }
        Op::Rename { from, to } => fs.rename(Path::new(from), Path::new(to)),
        Op::Unlink { file } => fs.unlink(Path::new(file)),
    }
}

fn write(file: &dyn File, offset: u64, letter: char, len: u64) -> io::Result<()> {
    let byte = of(letter).ok_or(io::ErrorKind::InvalidInput)?;
    let bytes = vec![byte; checked(len)? as usize];
    let written = file.write_at(&bytes, offset)?;
    assert_eq!(written, bytes.len(), "a disk without faults writes all");
    Ok(())
}

fn checked(len: u64) -> io::Result<u64> {
    match len {
        0..=LEN_MAX => Ok(len),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}
