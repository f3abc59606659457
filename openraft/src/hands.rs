//! Who brings to the disk what the log was handed: threads, or the caller.

use std::sync::{Mutex, MutexGuard, PoisonError};

use afterimage_engine::store::{
    Batch, Cleaner, Hinter, Install, Installed, Preparer, Store, Ticket, Writer,
};
use afterimage_engine::threads::Threads;
use afterimage_engine::{Error, Index, Result, Step};

pub(crate) enum Hands {
    Threads(Threads),
    /// Nothing happens but in [`crate::Stepper::step`].
    Caller(Box<Caller>),
}

pub(crate) struct Caller {
    store: Store,
    tasks: Mutex<Tasks>,
}

struct Tasks {
    writer: Writer,
    preparer: Preparer,
    cleaner: Cleaner,
    hinter: Hinter,
    submitted: Ticket,
    /// Why nothing becomes durable any more.
    failure: Option<Error>,
}

impl Hands {
    pub fn of_caller(store: Store) -> Self {
        let tasks = Mutex::new(Tasks {
            writer: store.writer(),
            preparer: store.preparer(),
            cleaner: store.cleaner(),
            hinter: store.hinter(),
            submitted: store.persisted(),
            failure: None,
        });
        Hands::Caller(Box::new(Caller { store, tasks }))
    }

    pub fn store(&self) -> &Store {
        match self {
            Hands::Threads(threads) => threads.store(),
            Hands::Caller(caller) => &caller.store,
        }
    }

    pub fn append(&self, batch: Batch) -> Result<Ticket> {
        match self {
            Hands::Threads(threads) => threads.append(batch),
            Hands::Caller(caller) => caller.submit(|store| store.submit(batch)),
        }
    }

    pub fn truncate_suffix(&self, from: Index) -> Result<Ticket> {
        match self {
            Hands::Threads(threads) => threads.truncate_suffix(from),
            Hands::Caller(caller) => caller.submit(|store| store.truncate_suffix(from)),
        }
    }

    pub fn hint_commit(&self, index: Index) {
        match self {
            Hands::Threads(threads) => threads.hint_commit(index),
            Hands::Caller(caller) => caller.store.hint_commit(index),
        }
    }

    /// Installs a snapshot without data, once all that was handed over is durable.
    pub fn install(&self, mut install: Install) -> Result<Installed> {
        let caller = match self {
            Hands::Threads(threads) => return threads.install(install),
            Hands::Caller(caller) => caller,
        };
        let mut tasks = caller.tasks();
        tasks.is_well()?;
        while caller.store.persisted() < tasks.submitted {
            if tasks.writer.step()? == Step::Stalled {
                return Err(Error::Misuse("the disk is full, and nobody makes space"));
            }
        }
        assert!(
            install.push(install.wanted(), Vec::new(), true),
            "nothing was pushed before"
        );
        loop {
            install.step()?;
            if let Some(installed) = install.outcome() {
                return Ok(installed);
            }
        }
    }
}

impl Caller {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        // No user code runs under the lock.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, submit: impl FnOnce(&Store) -> Result<Ticket>) -> Result<Ticket> {
        let mut tasks = self.tasks();
        tasks.is_well()?;
        tasks.submitted = submit(&self.store)?;
        Ok(tasks.submitted)
    }

    /// One file operation at the most; whether there was something to do.
    pub fn step(&self) -> Result<bool> {
        let mut tasks = self.tasks();
        tasks.is_well()?;
        let stepped = tasks.step();
        if let Err(failure) = &stepped {
            tasks.failure = Some(failure.clone());
        }
        stepped
    }
}

impl Tasks {
    /// As with threads: what failed once, whoever's work it was, fails for all.
    fn is_well(&self) -> Result<()> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    fn step(&mut self) -> Result<bool> {
        if self.writer.has_work() {
            self.writer.step()?;
        } else if self.cleaner.has_work() {
            self.cleaner.step()?;
        } else if self.preparer.has_work() {
            self.preparer.step()?;
        } else if self.hinter.has_work() {
            self.hinter.step()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}
