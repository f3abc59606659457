//! A client history: operations with their beginning, their end, and what the
//! clients know of it.

use std::fmt;
use std::str::FromStr;

/// What the operations work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// One register that starts as null: `read`, `write`, `cas`.
    Register,
    /// Strings by key, all `""` at first: `get`, `put`, `append`.
    Kv,
}

impl Model {
    pub const ALL: &[Model] = &[Model::Register, Model::Kv];

    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::Kv => "kv",
        }
    }

    /// What is read before anything was written.
    pub fn initial(self) -> &'static str {
        match self {
            Model::Register => "null",
            Model::Kv => "",
        }
    }
}

impl FromStr for Model {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Model::ALL
            .iter()
            .copied()
            .find(|model| model.name() == s)
            .ok_or_else(|| format!("unknown model `{s}`"))
    }
}

/// In the order in which the operations began.
#[derive(Debug, Clone)]
pub struct History {
    pub model: Model,
    pub operations: Vec<Operation>,
    /// Lines, or events where it was never text.
    pub lines: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// As the history names it: a number, or a string in JSON.
    pub process: String,
    /// `None` where the model has no keys.
    pub key: Option<String>,
    pub call: Call,
    /// The line of its beginning, counted from 1.
    pub invoked: usize,
    /// The line of its end, and what is known then.
    pub ended: Option<(usize, Done)>,
}

/// Values are in the model's own terms: JSON for a register, bare text for kv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A `get`, too. What it saw is known only if it is [`Done::Ok`].
    Read {
        seen: Option<String>,
    },
    /// A `put`, too.
    Write {
        value: String,
    },
    Cas {
        from: String,
        to: String,
    },
    Append {
        value: String,
    },
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Ok,
    /// It took no effect.
    Fail,
    /// It may take effect at any later time, or never.
    Info,
}

impl Call {
    /// Its `f`.
    pub fn name(&self, model: Model) -> &'static str {
        match (self, model) {
            (Call::Read { .. }, Model::Register) => "read",
            (Call::Read { .. }, Model::Kv) => "get",
            (Call::Write { .. }, Model::Register) => "write",
            (Call::Write { .. }, Model::Kv) => "put",
            (Call::Cas { .. }, _) => "cas",
            (Call::Append { .. }, _) => "append",
        }
    }

    pub(super) fn value(&self) -> String {
        match self {
            Call::Read { seen } => seen.clone().unwrap_or_default(),
            Call::Write { value } | Call::Append { value } => value.clone(),
            Call::Cas { from, to } => format!("{from} -> {to}"),
        }
    }
}

impl Operation {
    /// Until when its end is known to have come, seen from line `end`.
    pub(super) fn ended_by(&self, end: usize) -> Option<(usize, Done)> {
        self.ended.filter(|(line, _)| *line <= end)
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Done::Ok => "ok",
            Done::Fail => "fail",
            Done::Info => "info",
        })
    }
}
