//! Which kinds of faults a plan has, and what each leaves in a report if it had
//! an effect.

use std::collections::BTreeMap;

use super::{Action, Plan};

/// The receipts of each kind. A kind without a line leaves one of its own name.
const RECEIPTS: &[(&str, &[&str])] = &[
    ("crash", &["power-cut"]),
    (
        "fail",
        &[
            "disk-eio",
            "disk-eio-done",
            "disk-full",
            "disk-read-only",
            "disk-short",
            "lost-write",
            "misdirected-write",
        ],
    ),
    ("full", &["disk-full"]),
    ("slow", &["disk-slow"]),
    ("rot", &["bit-rot"]),
    ("unreadable", &["unreadable-sector"]),
    ("jump", &["clock-jump"]),
    ("add_learner", &["member-add"]),
    ("promote", &["member-promote"]),
    ("remove", &["member-remove"]),
    ("transfer", &["leader-transfer"]),
    ("lose_disk", &["disk-lost"]),
];

impl Plan {
    /// Each kind that the plan has, and whether it had an effect in a run that
    /// left these receipts. Of one store's plans, nothing is said.
    pub fn kinds(&self, receipts: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, bool> {
        let (net, disk) = (&self.net, &self.disk);
        let rates = [
            ("net-loss", net.loss),
            ("net-duplicate", net.duplicate),
            ("net-reorder", net.reorder),
            ("net-corrupt", net.corrupt),
            ("disk-short", disk.short),
            ("disk-stall", disk.stall),
        ];
        let rates = rates.iter().filter(|(_, rate)| rate.numerator > 0);
        let narrow = (net.bandwidth > 0).then_some("net-queue");
        let steps = self.steps.iter().filter_map(|step| match &step.action {
            // Without a lie in the cache it has none, and leaves no receipt.
            Action::Store(_) | Action::Evict { .. } => None,
            action => Some(action.name()),
        });
        let kinds = rates.map(|(name, _)| *name).chain(narrow).chain(steps);
        let had_effect = |kind: &str| {
            let own = RECEIPTS.iter().find(|(name, _)| *name == kind);
            match own {
                Some((_, own)) => own.iter().any(|receipt| receipts.contains_key(receipt)),
                None => receipts.contains_key(kind),
            }
        };
        kinds.map(|kind| (kind, had_effect(kind))).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::Plan;

    #[test]
    fn a_kind_had_an_effect_if_it_left_a_receipt() {
        let plan = "plan 1\nscenario raft-3\nnet loss=1/9 corrupt=1/9\n\
                    s1 kill n1\ns2 crash n2\ns3 evict n1\ns4 fail n1\ns5 partition leader";
        let plan: Plan = plan.parse().unwrap();
        let receipts = [("kill", 2), ("disk-eio", 1), ("net-loss", 7), ("other", 1)];
        let expected = [
            ("crash", false),
            ("fail", true),
            ("kill", true),
            ("net-corrupt", false),
            ("net-loss", true),
            ("partition", false),
        ];
        assert_eq!(plan.kinds(&receipts.into()), expected.into());
    }
}
