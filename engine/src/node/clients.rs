//! Who waits for an answer.

use std::collections::BTreeMap;

use crate::ids::{Index, NodeId, Term};
use crate::raft::ReadState;

use super::replica::Answer;
use super::{Output, Reply, Request};

/// Commands and reads that wait at one node, at the most.
const WAITING_MAX: usize = 4096;
/// Bytes of their bodies, at the most; a single one may be larger.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// The requests that this node took and has not answered yet. Each is answered
/// exactly once, unless the node stops.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Commands by the position they were proposed at.
    commands: BTreeMap<(Index, Term), Waiting>,
    /// Reads whose leadership is not confirmed yet, by context.
    reads: BTreeMap<u64, Waiting>,
    /// Reads that wait for the state machine to reach an index.
    confirmed: BTreeMap<(Index, u64), Waiting>,
    last_context: u64,
    /// Bytes of the bodies of all of them.
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    client: u64,
    sequence: u64,
    /// Length of the body.
    bytes: usize,
    /// A read's body; a command's is in the log.
    query: Vec<u8>,
}

impl Waiting {
    fn reply(&self, reply: Reply) -> Output {
        Output::Reply {
            client: self.client,
            sequence: self.sequence,
            reply,
        }
    }
}

impl Clients {
    /// Whether one more request with a body of this size can wait here.
    pub fn has_room(&self, bytes: usize) -> bool {
        let waiting = self.commands.len() + self.reads.len() + self.confirmed.len();
        waiting == 0 || (waiting < WAITING_MAX && self.bytes + bytes <= WAITING_BYTES_MAX)
    }

    /// The command is at this position of the log, and may be replaced there.
    pub fn proposed(&mut self, position: (Index, Term), request: &Request) {
        self.bytes += request.body.len();
        let waiting = Waiting {
            client: request.client,
            sequence: request.sequence,
            bytes: request.body.len(),
            query: Vec::new(),
        };
        let taken = self.commands.insert(position, waiting);
        assert!(taken.is_none(), "a term proposes once at an index");
    }

    /// The context for the next read.
    pub fn next_context(&mut self) -> u64 {
        self.last_context += 1;
        self.last_context
    }

    /// The read waits for its leadership to be confirmed.
    pub fn asked(&mut self, context: u64, request: Request) {
        self.bytes += request.body.len();
        let waiting = Waiting {
            client: request.client,
            sequence: request.sequence,
            bytes: request.body.len(),
            query: request.body,
        };
        let taken = self.reads.insert(context, waiting);
        assert!(taken.is_none(), "contexts are used once");
    }

    /// The read may be served from `index` on.
    pub fn confirmed(&mut self, ReadState { context, index }: ReadState) {
        if let Some(read) = self.take_read(context) {
            self.confirmed.insert((index, context), read);
        }
    }

    /// The leadership was lost before the read was confirmed.
    pub fn refused(&mut self, context: u64, leader: Option<NodeId>, out: &mut Vec<Output>) {
        if let Some(read) = self.take_read(context) {
            self.bytes -= read.bytes;
            out.push(read.reply(Reply::NotLeader { leader }));
        }
    }

    fn take_read(&mut self, context: u64) -> Option<Waiting> {
        let read = self.reads.remove(&context);
        assert!(read.is_some(), "the core answers each read once");
        read
    }

    /// The entry at `index` was applied: whoever proposed it gets the answer;
    /// whoever proposed another one there was replaced. Replaced is not
    /// refused, since a retry may have brought the same command in elsewhere.
    pub fn applied(&mut self, index: Index, term: Term, answer: Answer, out: &mut Vec<Output>) {
        let mut answer = Some(answer);
        while let Some(entry) = self.commands.first_entry()
            && entry.key().0 <= index
        {
            let (position, command) = entry.remove_entry();
            self.bytes -= command.bytes;
            let reply = match answer.take_if(|_| position == (index, term)) {
                Some(Answer::Done(answer)) => Reply::Done(answer),
                Some(Answer::None) | None => Reply::Unknown,
            };
            out.push(command.reply(reply));
        }
    }

    /// A snapshot took the place of all entries up to `index`, and with them
    /// the answers.
    pub fn skipped(&mut self, index: Index, out: &mut Vec<Output>) {
        self.applied(index, Term(0), Answer::None, out);
    }

    /// Answers the reads that wait for nothing beyond `applied`.
    pub fn serve(
        &mut self,
        applied: Index,
        query: impl Fn(&[u8]) -> Vec<u8>,
        out: &mut Vec<Output>,
    ) {
        while let Some(entry) = self.confirmed.first_entry()
            && entry.key().0 <= applied
        {
            let read = entry.remove();
            self.bytes -= read.bytes;
            out.push(read.reply(Reply::Done(query(&read.query))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RequestKind;
    use super::*;

    fn request(client: u64, kind: RequestKind, body: &[u8]) -> Request {
        Request {
            client,
            sequence: 1,
            kind,
            body: body.to_vec(),
        }
    }

    /// The clients answered and how, after `run` on a node where client n
    /// proposed at (index n, term 1), for n in 1..=3.
    fn check(run: impl FnOnce(&mut Clients, &mut Vec<Output>), expected: &[(u64, Reply)]) {
        let (mut clients, mut out) = (Clients::default(), Vec::new());
        for n in 1..=3 {
            let request = request(n, RequestKind::Command, b"four");
            clients.proposed((Index(n), Term(1)), &request);
        }
        run(&mut clients, &mut out);
        let got: Vec<_> = out
            .into_iter()
            .map(|output| match output {
                Output::Reply { client, reply, .. } => (client, reply),
                Output::Send(message) => panic!("sent {message:?}"),
            })
            .collect();
        assert_eq!(got, expected);
        let left = clients.commands.values().chain(clients.reads.values());
        let left = left.chain(clients.confirmed.values());
        assert_eq!(clients.bytes, left.map(|waiting| waiting.bytes).sum());
    }

    fn done(answer: &[u8]) -> Answer {
        Answer::Done(answer.to_vec())
    }

    #[test]
    fn the_proposer_gets_the_answer() {
        check(
            |clients, out| {
                clients.applied(Index(1), Term(1), done(b"a"), out);
                clients.applied(Index(2), Term(1), Answer::None, out);
            },
            &[(1, Reply::Done(b"a".to_vec())), (2, Reply::Unknown)],
        );
    }

    #[test]
    fn a_replaced_proposal_is_unknown() {
        check(
            |clients, out| {
                // Leader again in term 3, at the same place.
                let again = request(9, RequestKind::Command, b"");
                clients.proposed((Index(1), Term(3)), &again);
                clients.applied(Index(1), Term(3), done(b"b"), out);
                clients.applied(Index(2), Term(4), done(b"c"), out);
            },
            &[
                (1, Reply::Unknown),
                (9, Reply::Done(b"b".to_vec())),
                (2, Reply::Unknown),
            ],
        );
    }

    #[test]
    fn a_snapshot_leaves_proposals_unknown() {
        check(
            |clients, out| clients.skipped(Index(2), out),
            &[(1, Reply::Unknown), (2, Reply::Unknown)],
        );
    }

    #[test]
    fn a_read_waits_for_its_index() {
        check(
            |clients, out| {
                for client in 11..=13 {
                    let context = clients.next_context();
                    clients.asked(
                        context,
                        request(client, RequestKind::Query, &[client as u8]),
                    );
                }
                let query = |body: &[u8]| body.to_vec();
                clients.serve(Index(99), query, out);
                clients.confirmed(ReadState {
                    context: 1,
                    index: Index(5),
                });
                clients.confirmed(ReadState {
                    context: 3,
                    index: Index(4),
                });
                clients.refused(2, Some(NodeId(7)), out);
                for (applied, answered) in [(3, 1), (4, 2), (5, 3)] {
                    clients.serve(Index(applied), query, out);
                    assert_eq!(out.len(), answered, "applied {applied}");
                }
            },
            &[
                (
                    12,
                    Reply::NotLeader {
                        leader: Some(NodeId(7)),
                    },
                ),
                (13, Reply::Done(vec![13])),
                (11, Reply::Done(vec![11])),
            ],
        );
    }

    #[test]
    fn there_is_room_for_so_many_and_so_much() {
        let mut clients = Clients::default();
        assert!(clients.has_room(WAITING_BYTES_MAX + 1), "alone");
        let command = request(1, RequestKind::Command, b"x");
        clients.proposed((Index(1), Term(1)), &command);
        assert!(clients.has_room(WAITING_BYTES_MAX - 1));
        assert!(!clients.has_room(WAITING_BYTES_MAX));
        for n in 2..=WAITING_MAX as u64 {
            assert!(clients.has_room(0));
            clients.proposed((Index(n), Term(1)), &command);
        }
        assert!(!clients.has_room(0));
        let mut out = Vec::new();
        clients.applied(Index(1), Term(1), Answer::None, &mut out);
        assert!(clients.has_room(0));
    }
}
