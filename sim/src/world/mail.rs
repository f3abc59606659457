//! Messages between members: sent over the network, and delivered to who is up.

use afterimage_engine::node::Input;
use afterimage_engine::raft::Message;

use super::{Happening, Subject, World};
use crate::trace::What;

impl<S: Subject> World<S> {
    pub(super) fn send(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        let kind = message.body.name();
        let What::Sent(message) = self.record_kept(Some(from), What::Sent(message)) else {
            unreachable!("it is given back as it was");
        };
        let dropped = |why| What::Dropped {
            from,
            to,
            kind,
            why,
        };
        let fate = self.net.send(self.now_us, &message);
        if self.net.is_cut(from, to) {
            self.record(None, dropped("partition"));
            return;
        }
        if self.net.loses(from, to, kind) {
            self.record(None, dropped("loss"));
            return;
        }
        if let Some(why) = fate.dropped {
            self.record(None, dropped(why));
        }
        if fate.queued {
            self.recorder.fault("net-queue");
        }
        if fate.again_us.is_some() {
            self.recorder.fault("net-duplicate");
        }
        if fate.reordered {
            self.recorder.fault("net-reorder");
        }
        let Some(delay) = fate.delay_us else {
            return;
        };
        let again = fate.again_us.map(|delay| (delay, message.clone()));
        for (delay, message) in [(delay, message)].into_iter().chain(again) {
            let deliver = Happening::Deliver(Box::new(message));
            self.queue.push(self.now_us + delay, deliver);
        }
    }

    pub(super) fn deliver(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        let kind = message.body.name();
        let why = if self.net.is_cut(from, to) {
            Some("partition")
        } else if self.member(to).is_up() {
            None
        } else {
            Some("down")
        };
        if let Some(why) = why {
            let dropped = What::Dropped {
                from,
                to,
                kind,
                why,
            };
            self.record(None, dropped);
            return;
        }
        let term = message.term;
        self.record(Some(to), What::Delivered { from, kind, term });
        self.handle(to, Input::Message(message));
    }
}
