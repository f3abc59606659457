//! What each operation does to the disk.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use afterimage_engine::fs::{Held, SyncMode};

use super::FaultKind;
use super::image::{Piece, SECTOR, pieces};
use super::inode::Inode;
use super::names::{Change, Node, parent};
use super::profile::Log;
use super::state::{Attempt, Draw, State};
use crate::rng::SimRng;

/// No file is longer, in bytes: 1 GiB.
const LEN_MAX: u64 = 1 << 30;

/// Names.
impl State {
    /// The inode of the file that is open now, and the syncs that failed on it
    /// before: this handle does not report them.
    pub fn open(&mut self, path: &str) -> io::Result<(u64, u64)> {
        match self.names.cache.get(path) {
            Some(Node::File(inode)) => Ok(self.opened(*inode)),
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None if path.is_empty() => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn opened(&mut self, inode: u64) -> (u64, u64) {
        let file = self.file(inode);
        file.open += 1;
        (inode, file.failed_syncs)
    }

    /// A handle was dropped.
    pub fn closed(&mut self, inode: u64) {
        let file = self.file(inode);
        file.open -= 1;
        if file.open == 0 && !file.linked {
            self.collect();
        }
    }

    pub fn create(&mut self, at: &mut Attempt, path: &str) -> io::Result<u64> {
        self.check_free_name(path)?;
        if self.room() == Some(0) {
            return Err(at.inject(FaultKind::Enospc));
        }
        let name: Arc<str> = path.into();
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes
            .insert(inode, Arc::new(Inode::new(name.clone())));
        let node = Node::File(inode);
        self.names.change(at.op, Change::Link { name, node });
        Ok(inode)
    }

    pub fn create_new(&mut self, at: &mut Attempt, path: &str) -> io::Result<(u64, u64)> {
        let inode = self.create(at, path)?;
        if at.fault == Some(FaultKind::EioDone) {
            // Nobody gets the handle.
            return Err(at.inject(FaultKind::EioDone));
        }
        Ok(self.opened(inode))
    }

    pub fn create_dir(&mut self, at: &mut Attempt, path: &str) -> io::Result<()> {
        self.check_free_name(path)?;
        let name = path.into();
        let node = Node::Dir;
        self.names.change(at.op, Change::Link { name, node });
        Ok(())
    }

    fn check_free_name(&self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.names.cache.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.check_dir(parent(path))
    }

    fn check_dir(&self, dir: &str) -> io::Result<()> {
        match self.names.cache.get(dir) {
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None if !dir.is_empty() => Err(ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }

    pub fn rename(&mut self, at: &mut Attempt, from: &str, to: &str) -> io::Result<()> {
        let inode = self.file_named(from)?;
        self.check_dir(parent(to))?;
        if from == to {
            return Ok(());
        }
        let replaced = match self.names.cache.get(to) {
            Some(Node::File(replaced)) => Some(*replaced),
            Some(Node::Dir) => return Err(ErrorKind::IsADirectory.into()),
            None if to.is_empty() => return Err(ErrorKind::IsADirectory.into()),
            None => None,
        };
        if let Some(replaced) = replaced {
            self.unlinked(replaced);
        }
        let (from, to): (Arc<str>, Arc<str>) = (from.into(), to.into());
        self.file(inode).name = to.clone();
        self.names.change(at.op, Change::Rename { from, to, inode });
        Ok(())
    }

    pub fn unlink(&mut self, at: &mut Attempt, path: &str) -> io::Result<()> {
        let inode = self.file_named(path)?;
        self.unlinked(inode);
        let name = path.into();
        self.names.change(at.op, Change::Unlink { name });
        Ok(())
    }

    /// The cache's name of the file is gone. What it held may show up in blocks
    /// that are allocated from now on.
    fn unlinked(&mut self, inode: u64) {
        let file = self.file(inode);
        file.linked = false;
        let image = file.cache.clone();
        // With a log, its blocks are free once that says so: see `collect`.
        if self.profile.log == Log::None {
            self.freed.push_all(&image);
        }
    }

    fn file_named(&self, path: &str) -> io::Result<u64> {
        match self.names.cache.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            // No caller renames or removes directories; refusing it keeps
            // every change of the namespace on at most two names.
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None if path.is_empty() => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// In an order that the seed chooses, another one each time.
    pub fn list(&mut self, at: &Attempt, dir: &str) -> io::Result<Vec<OsString>> {
        self.check_dir(dir)?;
        let names = self.names.cache.keys();
        let mut names: Vec<OsString> = names
            .filter(|name| parent(name) == dir)
            .map(|name| name.rsplit('/').next().unwrap_or(name).into())
            .collect();
        SimRng::new(self.draw(Draw::List, at, 0), "list").shuffle(&mut names);
        Ok(names)
    }

    pub fn sync_dir(&mut self, at: &Attempt, dir: &str) -> io::Result<()> {
        self.check_dir(dir)?;
        let mut coins = SimRng::new(self.draw(Draw::Torn, at, 0), "sync_dir");
        self.persist_names(|pending| {
            pending.change.is_in(dir) && (!at.torn || coins.below(2) == 1)
        });
        self.collect();
        Ok(())
    }

    pub fn lock(&mut self, path: &str) -> io::Result<u64> {
        let inode = self.file_named(path)?;
        if !self.locks.insert(inode) {
            // Of another incarnation it cannot be: a boot releases its locks.
            let by = format!("incarnation {}", self.boot);
            return Err(Held { by }.into());
        }
        Ok(inode)
    }

    pub fn unlock(&mut self, inode: u64) {
        self.locks.remove(&inode);
    }
}

/// Open files.
impl State {
    pub fn read(
        &self,
        at: &mut Attempt,
        inode: u64,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let len = self.short_len(at, buf.len());
        self.peek(inode)
            .readable(offset, len)
            .map_err(|bad| at.unreadable(bad))?;
        let read = self.peek(inode).read(&mut buf[..len], offset);
        at.len = read as u64;
        Ok(read)
    }

    pub fn write(
        &mut self,
        at: &mut Attempt,
        inode: u64,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        check_end(offset, bytes.len() as u64)?;
        if at.fault == Some(FaultKind::Eio) {
            self.write_badly(at, inode, bytes, offset);
            return Err(at.inject(FaultKind::Eio));
        }
        let len = self.short_len(at, bytes.len());
        self.peek(inode)
            .mergeable(offset, len)
            .map_err(|bad| at.unreadable(bad))?;
        let fits = self.fits(inode, offset, len);
        if fits < len {
            let error = at.inject(FaultKind::Enospc);
            if fits == 0 {
                return Err(error);
            }
        }
        // With a log, what of it lands is for the power cut to say: it knows the
        // rules.
        let torn = at.torn && self.profile.log == Log::None;
        let torn = torn.then(|| self.draw(Draw::Torn, at, 0));
        let mut coins = torn.map(|seed| SimRng::new(seed, "write"));
        let lands = |_| coins.as_mut().is_none_or(|coins| coins.below(2) == 1);
        self.file(inode).write(at.op, offset, &bytes[..fits], lands);
        at.len = fits as u64;
        Ok(fits)
    }

    /// A write that fails may have written nothing, or its first sectors, or
    /// only have made the file longer: then there are zeros.
    fn write_badly(&mut self, at: &Attempt, inode: u64, bytes: &[u8], offset: u64) {
        let sectors = pieces(offset, bytes.len()).count() as u64;
        let landed = match self.draw(Draw::FailedWrite, at, 0) % 3 {
            0 => return,
            1 => self.draw(Draw::FailedWrite, at, 1) % (sectors + 1),
            _ => 0,
        };
        let op = at.op;
        let file = self.file(inode);
        file.write(op, offset, bytes, |index| u64::from(index) < landed);
        file.grow(op, offset, offset + bytes.len() as u64);
    }

    /// How many of `len` bytes a read or write handles.
    fn short_len(&self, at: &mut Attempt, len: usize) -> usize {
        if at.fault != Some(FaultKind::Short) {
            return len;
        }
        at.injected = Some(FaultKind::Short);
        1 + (self.draw(Draw::ShortLen, at, 0) % (len as u64 - 1)) as usize
    }

    /// How many of `len` bytes there is space for.
    fn fits(&self, inode: u64, offset: u64, len: usize) -> usize {
        let Some(mut room) = self.room() else {
            return len;
        };
        let file = self.peek(inode);
        let mut fits = 0;
        for Piece { sector, len, .. } in pieces(offset, len) {
            if file.cache.get(sector).is_none() {
                if room == 0 {
                    break;
                }
                room -= 1;
            }
            fits += len;
        }
        fits
    }

    /// Sectors that can still be allocated; `None`: no limit.
    fn room(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.allocated()))
    }

    /// Sectors allocated by files that have a name. The others count as freed
    /// at once, although their unlink may not be durable.
    fn allocated(&self) -> u64 {
        let files = self.inodes.values().filter(|file| file.linked);
        files.map(|file| file.cache.allocated()).sum()
    }

    pub fn limit_space(&mut self, bytes: Option<u64>) {
        self.limit = bytes.map(|bytes| self.allocated() + bytes / SECTOR as u64);
    }

    pub fn len(&self, inode: u64) -> u64 {
        self.peek(inode).cache_len
    }

    pub fn set_len(&mut self, at: &Attempt, inode: u64, len: u64) -> io::Result<()> {
        check_end(0, len)?;
        let mut freed = std::mem::take(&mut self.freed);
        let file = self.file(inode);
        file.set_len(at.op, len, |sector, data| freed.push(sector, data));
        self.freed = freed;
        Ok(())
    }

    pub fn allocate(
        &mut self,
        at: &mut Attempt,
        inode: u64,
        offset: u64,
        len: u64,
    ) -> io::Result<()> {
        check_end(offset, len)?;
        if len == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        if self.fits(inode, offset, len as usize) < len as usize {
            return Err(at.inject(FaultKind::Enospc));
        }
        let file = self.file(inode);
        file.reserve(pieces(offset, len as usize).map(|piece| piece.sector));
        file.extend(at.op, offset + len);
        Ok(())
    }

    /// `seen`: how many failed syncs the handle has reported.
    pub fn sync(
        &mut self,
        at: &mut Attempt,
        inode: u64,
        mode: SyncMode,
        seen: &mut u64,
    ) -> io::Result<()> {
        if at.torn && self.profile.log != Log::None {
            return Ok(());
        }
        if at.torn {
            let mut coins = SimRng::new(self.draw(Draw::Torn, at, 0), "sync");
            let length = coins.below(2) == 1;
            self.file(inode).sync_some(|_| coins.below(2) == 1, length);
            return Ok(());
        }
        let committed = self.commits(inode, mode);
        let file = self.file(inode);
        if let Some(fault @ (FaultKind::Eio | FaultKind::Enospc)) = at.fault {
            file.fail_sync();
            *seen = file.failed_syncs;
            return Err(at.inject(fault));
        }
        if at.fault.is_some_and(FaultKind::is_latent) {
            self.lose_sector(at, inode);
        }
        let file = self.file(inode);
        file.sync();
        let failed = std::mem::replace(seen, file.failed_syncs);
        self.commit(inode, committed);
        if failed < *seen {
            // Another handle's sync failed since: this one reports it too.
            return Err(at.inject(FaultKind::Eio));
        }
        Ok(())
    }

    pub fn sync_all(&mut self) {
        if self.read_only {
            return;
        }
        for inode in self.inodes.values_mut() {
            if inode.has_pending() {
                Arc::make_mut(inode).sync();
            }
        }
        self.names.sync(self.profile.names, |_| true);
        self.collect();
    }

    pub fn evict(&mut self) -> bool {
        let mut showed = false;
        for inode in self.inodes.values_mut() {
            if inode.has_pending() || inode.decay.is_hidden() {
                showed |= Arc::make_mut(inode).evict();
            }
        }
        showed
    }

    pub(super) fn peek(&self, inode: u64) -> &Inode {
        match self.inodes.get(&inode) {
            Some(file) => file,
            None => panic!("inode {inode} is gone while a handle or a name refers to it"),
        }
    }

    pub(super) fn file(&mut self, inode: u64) -> &mut Inode {
        match self.inodes.get_mut(&inode) {
            Some(file) => Arc::make_mut(file),
            None => panic!("inode {inode} is gone while a handle or a name refers to it"),
        }
    }
}

/// Refuses what would make the file longer than it can be.
fn check_end(offset: u64, len: u64) -> io::Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= LEN_MAX => Ok(()),
        _ => Err(ErrorKind::FileTooLarge.into()),
    }
}
