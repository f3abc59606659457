//! What the clients saw, as a history in Jepsen's terms.

use std::collections::BTreeMap;

use afterimage_engine::node::Reply;

use super::{Operation, Record, What};
use crate::linear::{self, Call, Done, Model};

/// A history for the model `kv`: a key that nobody wrote reads as `""`.
///
/// Only an answer ends an operation: a refusal or silence may be followed by
/// another attempt with the same sequence number. What was not answered when
/// its client went on, or when the run ended, is `info` where it may have
/// taken effect and `fail` where it was a read. A process has one operation
/// at a time, so after an `info` the client goes on as a new process.
#[derive(Debug, Clone, Default)]
pub struct History {
    operations: Vec<linear::Operation>,
    events: usize,
    clients: BTreeMap<u64, Client>,
    processes: u64,
}

#[derive(Debug, Clone)]
struct Client {
    process: u64,
    /// Its sequence number, and which operation of the history it is.
    pending: Option<(u64, usize)>,
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
    pub fn finish(mut self) -> linear::History {
        let clients: Vec<u64> = self.clients.keys().copied().collect();
        for client in clients {
            self.give_up(client);
        }
        linear::History {
            model: Model::Kv,
            operations: self.operations,
            lines: self.events,
        }
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
        let (key, call) = match operation {
            Operation::Put { key, value } => {
                let value = value.to_string();
                (key, Call::Write { value })
            }
            Operation::Get { key } => (key, Call::Read { seen: None }),
        };
        let pending = Some((sequence, self.operations.len()));
        self.clients.insert(client, Client { process, pending });
        self.events += 1;
        self.operations.push(linear::Operation {
            process: process.to_string(),
            key: Some(key.to_string()),
            call,
            invoked: self.events,
            ended: None,
        });
    }

    fn done(&mut self, client: u64, sequence: u64, body: &[u8]) {
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        // An answer that comes after the client went on changes nothing.
        let Some((_, at)) = known.pending.take_if(|(s, _)| *s == sequence) else {
            return;
        };
        if let Call::Read { seen } = &mut self.operations[at].call {
            *seen = Some(read_value(body));
        }
        self.end(at, Done::Ok);
    }

    fn give_up(&mut self, client: u64) {
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        let Some((_, at)) = known.pending.take() else {
            return;
        };
        match self.operations[at].call {
            Call::Read { .. } => self.end(at, Done::Fail),
            _ => {
                self.end(at, Done::Info);
                let process = self.new_process();
                let pending = None;
                self.clients.insert(client, Client { process, pending });
            }
        }
    }

    fn end(&mut self, at: usize, done: Done) {
        self.events += 1;
        self.operations[at].ended = Some((self.events, done));
    }

    fn new_process(&mut self) -> u64 {
        self.processes += 1;
        self.processes - 1
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
