//! What must be there, and what may be: lists, and nothing else.

/// An entry; its data follows from these and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    pub term: u64,
    pub size: usize,
}

/// A log: items at `base + 1`, `base + 2`, ...
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    pub base: u64,
    pub items: Vec<Item>,
}

impl List {
    pub fn last(&self) -> u64 {
        self.base + self.items.len() as u64
    }
    pub fn get(&self, index: u64) -> Option<Item> {
        let at = index.checked_sub(self.base + 1)?;
        self.items.get(at as usize).copied()
    }
    pub fn cut(&mut self, last: u64) {
        self.items.truncate(last.saturating_sub(self.base) as usize);
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vote {
    pub term: u64,
    pub vote: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    pub last: u64,
    pub term: u64,
    pub bytes: usize,
}

/// The log and the hard state after a batch.
#[derive(Debug, Clone, Default)]
pub struct Version {
    pub ticket: u64,
    pub log: List,
    pub vote: Vote,
    /// The batch replaced what was there from here on.
    pub from: u64,
}

/// What the store was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub log: List,
    pub vote: Vote,
    pub snapshot: Option<Snapshot>,
}

/// The promises. `versions[0]` is durable, the others are on their way.
#[derive(Debug, Clone)]
pub struct Expect {
    pub versions: Vec<Version>,
    pub snapshot: Option<Snapshot>,
    pub save: Option<Snapshot>,
    pub install: Option<Snapshot>,
}

impl Expect {
    pub fn new() -> Self {
        Expect {
            versions: vec![Version::default()],
            snapshot: None,
            save: None,
            install: None,
        }
    }

    pub fn newest(&self) -> &Version {
        self.versions.last().expect("one is durable")
    }

    pub fn covered(&self) -> u64 {
        self.snapshot.map_or(0, |s| s.last)
    }

    /// A batch was handed over.
    pub fn submit(&mut self, ticket: u64, from: u64, items: &[Item], vote: Option<Vote>) {
        let mut next = self.newest().clone();
        next.ticket = ticket;
        next.log.cut(from - 1);
        next.log.items.extend(items);
        next.vote = vote.unwrap_or(next.vote);
        next.from = from;
        self.versions.push(next);
    }

    /// The store says that all up to this ticket is durable.
    pub fn persisted(&mut self, ticket: u64) {
        let done = self.versions.iter().rposition(|v| v.ticket <= ticket);
        self.versions.drain(..done.unwrap_or(0));
    }

    /// Whether the install, if it is done now, discards the log.
    fn discards(&self, install: Snapshot) -> bool {
        let log = &self.newest().log;
        log.get(install.last).map(|item| item.term) != Some(install.term)
    }

    /// An install is durable.
    pub fn installed(&mut self, install: Snapshot) {
        assert_eq!(self.versions.len(), 1, "it waits for the batches before it");
        if self.discards(install) {
            self.versions[0].log = List {
                base: install.last,
                items: Vec::new(),
            };
        }
        self.snapshot = Some(install);
    }

    /// While it runs, the store shows the newest of everything.
    pub fn check_live(&self, found: &Found) -> Result<(), String> {
        let newest = self.newest();
        if found.vote != newest.vote {
            return Err(format!("vote {:?}, not {:?}", found.vote, newest.vote));
        }
        if found.snapshot != self.snapshot {
            return Err(format!("{:?}, not {:?}", found.snapshot, self.snapshot));
        }
        if found.log.last() != newest.log.last().max(self.covered()) {
            return Err(format!("the log ends at {}", found.log.last()));
        }
        self.check_starts(found)?;
        same(&found.log, &newest.log)
    }

    fn check_starts(&self, found: &Found) -> Result<(), String> {
        let covered = found.snapshot.map_or(0, |s| s.last);
        if found.log.base > covered {
            return Err(format!("the log begins behind {}", found.log.base));
        }
        Ok(())
    }

    /// The store was opened: is this one of the things that may be left? From
    /// here on it is what must be.
    pub fn recovered(&mut self, found: &Found) -> Result<(), String> {
        self.check_starts(found)?;
        let newer = [self.save, self.install];
        let newer = newer
            .into_iter()
            .flatten()
            .filter(|s| s.last > self.covered());
        if found.snapshot != self.snapshot && !newer.into_iter().any(|s| found.snapshot == Some(s))
        {
            return Err(format!("{:?}, not {:?}", found.snapshot, self.snapshot));
        }
        let discarded = self.install.filter(|&install| {
            found.snapshot == Some(install)
                && found.snapshot != self.snapshot
                && found.snapshot != self.save
                && self.discards(install)
        });
        let version = match discarded {
            Some(install) => {
                if found.log.last() != install.last || !found.log.items.is_empty() {
                    return Err(format!("{:?} is left of a discarded log", found.log));
                }
                let mut version = self.versions[0].clone();
                version.log = found.log.clone();
                if version.vote != found.vote {
                    return Err(format!("vote {:?}", found.vote));
                }
                version
            }
            None => self.find(found)?,
        };
        *self = Expect {
            versions: vec![Version {
                ticket: 0,
                from: 0,
                ..version
            }],
            snapshot: found.snapshot,
            save: None,
            install: None,
        };
        Ok(())
    }

    /// The first version that it can be a part of, as it is now.
    fn find(&self, found: &Found) -> Result<Version, String> {
        // What no batch on its way replaces must be there.
        let mut must = self.versions[0].log.last();
        let mut why = String::new();
        let covered = found.snapshot.map_or(0, |s| s.last);
        for (at, version) in self.versions.iter().enumerate() {
            if at > 0 {
                must = must.min(version.from - 1);
            }
            let last = found.log.last();
            let fits = match () {
                () if last < must.max(covered) => {
                    Err(format!("the log ends at {last}, and {must} was durable"))
                }
                () => same(&found.log, &version.log),
            };
            if let Err(e) = fits {
                why = e;
                continue;
            }
            // The hard state goes to the disk before the entries of its batch.
            if !self.versions[at..].iter().any(|v| v.vote == found.vote) {
                why = format!("vote {:?}", found.vote);
                continue;
            }
            let mut version = version.clone();
            version.log.cut(last);
            version.vote = found.vote;
            return Ok(version);
        }
        Err(format!("{why}; found {found:?} of {:?}", self.versions))
    }
}

/// Everything found is in the list, and where the list begins nothing is below.
fn same(found: &List, list: &List) -> Result<(), String> {
    if found.base < list.base {
        return Err(format!("there is something at {}", found.base + 1));
    }
    for (index, item) in (found.base + 1..).zip(&found.items) {
        if list.get(index) != Some(*item) {
            return Err(format!("{index} is {item:?}, not {:?}", list.get(index)));
        }
    }
    Ok(())
}
