//! How the process ends.

use std::process::ExitCode;

use afterimage_sim::verdict::Verdict;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// An invariant broke, a planted bug survived, an expectation was missed, an
    /// observed outcome is unreachable.
    Broken,
    /// Wrong usage or unreadable input.
    Usage,
    /// A run proved nothing: vacuous or nondeterministic.
    Unproven,
    /// Ctrl-C.
    Interrupted,
}

impl Status {
    pub fn code(self) -> u8 {
        match self {
            Status::Ok => 0,
            Status::Broken => 1,
            Status::Usage => 2,
            Status::Unproven => 3,
            Status::Interrupted => 130,
        }
    }
    /// The worse of the two, where the other is that something is unproven.
    pub fn or(self, other: Self) -> Self {
        match self {
            Status::Ok => other,
            worse => worse,
        }
    }
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Status::Ok,
            Verdict::Fail(_) => Status::Broken,
            Verdict::Vacuous | Verdict::Nondeterministic => Status::Unproven,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status.code())
    }
}
