//! What the clients saw, as a history in Jepsen's terms.

use std::collections::BTreeMap;
use std::fmt::Write;

use afterimage_engine::node::Reply;
use serde::Serialize;

use super::{Operation, Record, What};

/// A history, one JSON object a line, for the model `kv`: `f` is `put` or
/// `get`, a missing key reads as `""`.
///
/// Only an answer ends an operation: a refusal or silence may be followed by
/// another attempt with the same sequence number. What was not answered when
/// its client went on, or when the run ended, is `info` where it may have
/// taken effect and `fail` where it was a read. A process has one operation
/// at a time, so after an `info` the client goes on as a new process.
#[derive(Debug, Clone, Default)]
pub struct History {
    lines: String,
    clients: BTreeMap<u64, Client>,
    processes: u64,
}

#[derive(Debug, Clone)]
struct Client {
    process: u64,
    /// Its sequence number and what it does.
    pending: Option<(u64, Operation)>,
}

#[derive(Serialize)]
struct Line {
    process: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    f: &'static str,
    key: String,
    value: Option<String>,
}

impl History {
    pub fn new() -> Self {
        History::default()
    }

    pub fn record(&mut self, record: &Record) {
        match &record.what {
            What::Invoke {
                client,
                sequence,
                operation,
                ..
            } => self.invoke(*client, *sequence, operation),
            What::Reply {
                client,
                sequence,
                reply: Reply::Done(body),
            } => self.done(*client, *sequence, body),
            _ => {}
        }
    }

    /// The whole history, at the end of the run.
    pub fn finish(mut self) -> String {
        let clients: Vec<u64> = self.clients.keys().copied().collect();
        for client in clients {
            self.give_up(client);
        }
        self.lines
    }

    fn invoke(&mut self, client: u64, sequence: u64, operation: &Operation) {
        let pending = self.clients.get(&client).and_then(|c| c.pending.as_ref());
        if pending.is_some_and(|(s, _)| *s == sequence) {
            return; // asked again
        }
        self.give_up(client);
        let process = match self.clients.get(&client) {
            Some(known) => known.process,
            None => self.new_process(),
        };
        let value = match operation {
            Operation::Put { value, .. } => Some(value.to_string()),
            Operation::Get { .. } => None,
        };
        self.line(process, "invoke", operation, value);
        let pending = Some((sequence, operation.clone()));
        self.clients.insert(client, Client { process, pending });
    }

    fn done(&mut self, client: u64, sequence: u64, body: &[u8]) {
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        // An answer that comes after the client went on changes nothing.
        let Some((_, operation)) = known.pending.take_if(|(s, _)| *s == sequence) else {
            return;
        };
        let process = known.process;
        let value = match operation {
            Operation::Put { value, .. } => Some(value.to_string()),
            Operation::Get { .. } => Some(read_value(body)),
        };
        self.line(process, "ok", &operation, value);
    }

    fn give_up(&mut self, client: u64) {
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        let Some((_, operation)) = known.pending.take() else {
            return;
        };
        let process = known.process;
        match operation {
            Operation::Get { .. } => self.line(process, "fail", &operation, None),
            Operation::Put { value, .. } => {
                self.line(process, "info", &operation, Some(value.to_string()));
                let process = self.new_process();
                let pending = None;
                self.clients.insert(client, Client { process, pending });
            }
        }
    }

    fn new_process(&mut self) -> u64 {
        self.processes += 1;
        self.processes - 1
    }

    fn line(
        &mut self,
        process: u64,
        kind: &'static str,
        operation: &Operation,
        value: Option<String>,
    ) {
        let (f, key) = match operation {
            Operation::Put { key, .. } => ("put", key.to_string()),
            Operation::Get { key } => ("get", key.to_string()),
        };
        let line = Line {
            process,
            kind,
            f,
            key,
            value,
        };
        let json = serde_json::to_string(&line).expect("strings and numbers always fit into JSON");
        writeln!(self.lines, "{json}").expect("a string takes everything");
    }
}

/// What a get's answer of (version, value) reads as.
fn read_value(body: &[u8]) -> String {
    match body.as_chunks::<8>() {
        ([version, value], []) if u64::from_le_bytes(*version) > 0 => {
            u64::from_le_bytes(*value).to_string()
        }
        ([_, _], []) => String::new(),
        // `fresh-reads` fails such a run; no put ever wrote this.
        _ => format!("an answer of {} bytes", body.len()),
    }
}
