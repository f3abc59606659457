use proptest::collection::vec;
use proptest::prelude::*;

use super::{apply, edit, plan};
use crate::plan::{Plan, fields};

/// What a text reads as: itself in its canonical form, or the error.
fn canonical(text: &str) -> String {
    match text.parse::<Plan>() {
        Ok(plan) => plan.to_string(),
        Err(e) => e.to_string(),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(canonical(text).trim_end(), expected.trim(), "of:\n{text}");
}

/// A line of a three-member plan whose line 3 it is.
#[track_caller]
fn check_line(line: &str, expected: &str) {
    check(&format!("plan 1\nscenario raft-3\n{line}"), expected);
}

#[track_caller]
fn check_store_line(line: &str, expected: &str) {
    check(&format!("plan 1\nscenario store\n{line}"), expected);
}

/// Whatever is accepted has a canonical form that reads as the same plan.
fn accepted_means_stable(text: &str) -> Result<(), TestCaseError> {
    match text.parse::<Plan>() {
        Ok(plan) => {
            prop_assert!(plan.steps.len() <= text.lines().count());
            prop_assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
        }
        Err(e) => {
            let message = e.to_string();
            prop_assert!(
                (1..=text.lines().count().max(1)).contains(&e.line),
                "{}",
                message
            );
            prop_assert!(
                !message.contains('\n') && message.len() < 600,
                "{}",
                message
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_reads_back(plan in plan()) {
        prop_assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
    }

    #[test]
    fn any_step_can_be_deleted(plan in plan(), at in any::<prop::sample::Index>()) {
        let mut smaller = plan;
        if !smaller.steps.is_empty() {
            smaller.steps.remove(at.index(smaller.steps.len()));
        }
        prop_assert_eq!(smaller.to_string().parse::<Plan>(), Ok(smaller));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(plan 1\n)?(\\PC|[\n\r\t\\x00-\\x1f]){0,200}") {
        accepted_means_stable(&text)?;
    }

    #[test]
    fn damaged_plans_never_panic(plan in plan(), edits in vec(edit(), 1..6)) {
        accepted_means_stable(&apply(&plan.to_string(), &edits))?;
    }
}

#[test]
fn a_short_plan_takes_the_defaults() {
    check(
        "# by hand\n\nplan 1 # the version\nscenario raft-3\n  cluster  nodes=5 tick_ms=10\nnet\n\
         s4 @1200 partition leader one_way for=3000\n\
         s5 @1500 crash n2 down=400 op=sync:log-* nth=3 point=mid during=recovery\n\
         s6 @1500 crash n2 op=write\n\
         s7 @1500 crash n5\n\
         s8 kill follower.1\n\
         s9 @2000 partition n1,n3\n\
         s10 @2000 fail n1 op=sync nth=2 fault=eio\n\
         s11 @2000 full leader bytes=4096 for=2000\n\
         s12 @2000 evict n2\n\
         s13 @2000 slow n3 factor=20\n\
         s14 @2500 rot leader\n\
         s15 @2500 unreadable n2 file=snapshot\n\
         s16 lose n2,n3 kind=append\n\
         s17 lose leader to=n1 kind=pre-vote for=20\n\
         s18 mend 16\n\
         s19 await n2 until=receives:append-accepted nth=2\n\
         s20 await leader until=stalls within=100\n\
         s21 heal",
        "plan 1\nscenario raft-3\nseed 0x0\ncluster nodes=5\n\
         s4 @1200 partition leader one_way for=3000\n\
         s5 @1500 crash n2 during=recovery op=sync:log-* nth=3 point=mid down=400\n\
         s6 @1500 crash n2 op=write nth=1 point=before down=500\n\
         s7 @1500 crash n5 op=* nth=0 point=before down=500\n\
         s8 kill follower.1 down=200\n\
         s9 @2000 partition n1,n3 for=1000\n\
         s10 @2000 fail n1 op=sync nth=2 fault=eio\n\
         s11 @2000 full leader bytes=4096 for=2000\n\
         s12 @2000 evict n2\n\
         s13 @2000 slow n3 factor=20 for=1000\n\
         s14 @2500 rot leader file=*\n\
         s15 @2500 unreadable n2 file=snapshot\n\
         s16 lose n2,n3 kind=append for=3600000\n\
         s17 lose leader to=n1 kind=pre-vote for=20\n\
         s18 mend 16\n\
         s19 await n2 until=receives:append-accepted nth=2 within=5000\n\
         s20 await leader until=stalls nth=1 within=100\n\
         s21 heal",
    );
}

#[test]
fn a_store_plan_has_actions_of_its_own() {
    let steps = "s1 append 1/1:8 1/2:8 2/3:700\n\
         s2 crash op=* nth=2 point=before\n\
         s3 truncate from=3\n\
         s4 restart\n\
         s5 hard_state term=3 vote=n2\n\
         s6 save upto=2 bytes=1500\n\
         s7 install last=9 term=3 bytes=1500\n\
         s8 clean\n\
         s9 prepare\n\
         s10 fail op=sync:log-* nth=1 fault=eio\n\
         s11 full bytes=512\n\
         s12 space\n\
         s13 evict\n\
         s14 kill\n\
         s15 cut\n\
         s16 check\n\
         s17 save background upto=2 bytes=1500\n\
         s18 install background last=9 term=3 bytes=1500\n\
         s19 clean background\n\
         s20 prepare background\n\
         s21 wait\n\
         s22 kill_at op=write:log-* nth=1\n\
         s23 rot file=log-* sector=3 bit=17\n\
         s24 rot file=raft/hardstate\n\
         s25 unreadable file=* sector=0\n\
         s26 fail op=sync:log-* nth=1 fault=erofs\n\
         s27 fail op=rename:snapshot nth=2 fault=eio-done\n\
         s28 fail op=sync nth=1 fault=lost\n\
         s29 fail op=sync:hardstate nth=1 fault=misdirected\n\
         s30 append unsynced 1/1:24 1/2:0\n\
         s31 sync";
    let text = format!("plan 1\nscenario store\nseed 0x7\ncluster segment_bytes=1024\n{steps}");
    check(&text, &text);
}

/// A change of a default changes what existing plans mean: it needs a new
/// version of the format.
#[test]
fn the_defaults_of_version_1() {
    let plan: Plan = "plan 1\nscenario raft-3".parse().unwrap();
    assert_eq!(
        fields::print(&plan.cluster).join(" "),
        "nodes=3 spares=0 tick_ms=10 election_ticks=15 heartbeat_ticks=3 segment_bytes=4096 \
         chunk_bytes=1024 cache_bytes=65536 append_bytes_max=4096 inflight_max=8 \
         snapshot_every=100 duration_ms=20000 converge_ms=10000 trail_entries=0 \
         commit_hint_every=0 unsynced_bytes=65536 heal=all drift=0/1"
    );
    assert_eq!(
        fields::print(&plan.net).join(" "),
        "latency_us=500..2000 loss=0/1 duplicate=0/1 reorder=0/1 reorder_us_max=10000 \
         corrupt=0/1 uneven=1 bandwidth=0"
    );
    assert_eq!(
        fields::print(&plan.disk).join(" "),
        "op_us=20..100 sync_us=200..2000 short=0/1 stall=0/1 stall_us_max=300000 \
         profile=posix-worst"
    );
    assert_eq!(
        fields::print(&plan.workload).join(" "),
        "clients=3 readers=0 keys=4 value_bytes_max=200 reads=1/3 think_ms_max=20 timeout_ms=1000"
    );
}

#[test]
fn refusals_of_the_header() {
    check("", "line 1: expected `plan 1`, found nothing");
    check("\n# x\n", "line 2: expected `plan 1`, found nothing");
    check("plan 2", "line 1: plan version 2, this build knows up to 1");
    check("plan 0", "line 1: expected `plan 1`, found `plan 0`");
    check(
        "plan one two",
        "line 1: expected `plan 1`, found `plan one two`",
    );
    check(
        "scenario store",
        "line 1: expected `plan 1`, found `scenario store`",
    );
    check("plan 1\n\n", "line 2: section `scenario` is missing");
    check(
        "plan 1\ns1 check",
        "line 2: `scenario`, which comes before the first step, is missing",
    );
}

#[test]
fn refusals_of_sections() {
    check_line(
        "cluster nodes=0",
        "line 3: nodes is `0`; allowed: a number from 1 to 7",
    );
    check_line(
        "cluster nodes=8",
        "line 3: nodes is `8`; allowed: a number from 1 to 7",
    );
    check_line(
        "cluster nodes=",
        "line 3: nodes is ``; allowed: a number from 1 to 7",
    );
    check_line(
        "cluster nodes",
        "line 3: `nodes` is either a word of its own or KEY=VALUE, once",
    );
    check_line(
        "cluster nodes=3 nodes=3",
        "line 3: key `nodes` was given before",
    );
    check_line(
        "cluster segment_bytes=99999999999",
        "line 3: segment_bytes is `99999999999`; allowed: a number from 1024 to 67108864",
    );
    check_line(
        "cluster duration_ms=3600001",
        "line 3: duration_ms is `3600001`; allowed: a number from 0 to 3600000",
    );
    check_line(
        "cluster heartbeat_ticks=15",
        "line 3: heartbeat_ticks is `15`; allowed: fewer than election_ticks, 15",
    );
    check_line(
        "net loss=1/0",
        "line 3: loss is `1/0`; allowed: a ratio from 0/1 to 1/1, such as 1/100",
    );
    check_line(
        "net loss=3/2",
        "line 3: loss is `3/2`; allowed: a ratio from 0/1 to 1/1, such as 1/100",
    );
    check_line(
        "net latency_us=5..1",
        "line 3: latency_us is `5..1`; allowed: LOW..HIGH, within 0..60000000",
    );
    check_line(
        "disk speed=5",
        "line 3: unknown key `speed`; known: op_us, sync_us, short, stall, stall_us_max, profile, direct",
    );
    check_line("seed", "line 3: seed is missing");
    check_line(
        "seed abc",
        "line 3: seed is `abc`; allowed: a decimal or 0x number of 64 bits",
    );
    check_line("seed 1\nseed 1", "line 4: section `seed` was given before");
    check_line(
        "s1 evict n1\nnet",
        "line 4: section `net` after the first step; sections come first",
    );
    check_line(
        "nett",
        "line 3: unknown section or step `nett`; \
         known: scenario, seed, cluster, net, disk, workload, and steps such as `s1`",
    );
    check_line("net \u{7}", "line 3: a control character");
    let long = "x".repeat(100);
    let expected = format!(
        "line 3: seed is `{}...`; allowed: a decimal or 0x number of 64 bits",
        "x".repeat(40)
    );
    check_line(&format!("seed {long}"), &expected);
}

#[test]
fn refusals_of_steps() {
    check_line("s1", "line 3: the action is missing");
    check_line(
        "s1 explode n1",
        "line 3: unknown action `explode`; \
         known: partition, crash, kill, fail, full, evict, slow, rot, unreadable, \
         lose, mend, await, heal, pause, jump, \
         add_learner, promote, remove, transfer, lose_disk",
    );
    check_line(
        "s1 append 1/1:8",
        "line 3: unknown action `append`; \
         known: partition, crash, kill, fail, full, evict, slow, rot, unreadable, \
         lose, mend, await, heal, pause, jump, \
         add_learner, promote, remove, transfer, lose_disk",
    );
    check_line("s1 evict", "line 3: target is missing");
    check_line(
        "s1 evict n1 n2",
        "line 3: unknown key `n2`; known: none here",
    );
    check_line(
        "s1 evict nobody",
        "line 3: target is `nobody`; allowed: a member such as n1, leader, or follower.0",
    );
    check_line(
        "s1 evict n4",
        "line 3: target is `n4`; allowed: members n1 to n3, as many as `cluster` says",
    );
    check_line(
        "s1 partition n2,n5",
        "line 3: side is `n2,n5`; allowed: members n1 to n3, as many as `cluster` says",
    );
    check_line(
        "s1 partition n2,n1",
        "line 3: side is `n2,n1`; \
         allowed: leader, leader-minority, ring, bridge.n2, \
         or members in ascending order such as n1,n3",
    );
    check_line(
        "s1 lose n1 to=n4 kind=append",
        "line 3: side is `n4`; allowed: members n1 to n3, as many as `cluster` says",
    );
    check_line("s1 lose n1", "line 3: kind is missing");
    check_line(
        "s1 await n1 until=sends:hope",
        "line 3: until is `sends:hope`; allowed: one of pre-vote pre-vote-reply handover-vote \
         vote vote-reply append append-accepted append-rejected heartbeat heartbeat-reply \
         snapshot snapshot-wanted timeout-now",
    );
    check_line(
        "s1 crash n1 point=never",
        "line 3: point is `never`; allowed: one of before mid after",
    );
    check_line(
        "s1 crash n1 op=smash",
        "line 3: op is `smash`; \
         allowed: an operation such as write, sync:log-*, rename:snapshot or *",
    );
    check_line(
        "s1 crash n1 keep=everything",
        "line 3: keep is `everything`; allowed: none, or fates as a power cut reports them",
    );
    check_line(
        "s4 @5 partition n1 one_way=yes",
        "line 3: `one_way=yes` is either a word of its own or KEY=VALUE, once",
    );
    check_line(
        "s1 @3600001 evict n1",
        "line 3: time is `@3600001`; allowed: @0 to @3600000, in milliseconds",
    );
    check_line(
        "s1 kill n1 down=3600001",
        "line 3: down is `3600001`; allowed: a number from 0 to 3600000",
    );
    check_line(
        "s1 evict n1\n\ns1 evict n2",
        "line 5: step `s1` was given before",
    );
}

#[test]
fn refusals_of_store_steps() {
    check_store_line(
        "s1 @5 check",
        "line 3: time is `@5`; allowed: none, the steps of `store` just follow one another",
    );
    check_store_line("s1 append", "line 3: entry is missing");
    check_store_line(
        "s1 append 1/1:8 1/3:8",
        "line 3: entry is `1/3:8`; allowed: index 2 in term 1 or later, after 1/1:8",
    );
    check_store_line(
        "s1 append 2/1:8 1/2:8",
        "line 3: entry is `1/2:8`; allowed: index 2 in term 2 or later, after 2/1:8",
    );
    check_store_line(
        "s1 append 0/1:8",
        "line 3: entry is `0/1:8`; allowed: TERM/INDEX:BYTES such as 1/7:100, \
         positions from 1 to 1099511627776, bytes up to 1048576",
    );
    check_store_line(
        "s1 append 1/1:1048576 1/2:1",
        "line 3: entries is `1048577 bytes`; allowed: up to 1048576 bytes in one step",
    );
    check_store_line("s1 truncate", "line 3: from is missing");
    check_store_line("s1 install last=3", "line 3: term is missing");
    check_store_line(
        "s1 crash nth=0",
        "line 3: nth is `0`; allowed: a number from 1 to 1000000",
    );
    check_store_line("s1 evict n1", "line 3: unknown key `n1`; known: none here");
    check_store_line(
        "s1 rot file=",
        "line 3: file is ``; allowed: a name such as hardstate or log-*",
    );
    check_store_line(
        "s1 rot sector=-1",
        "line 3: sector is `-1`; allowed: a number from 0 to 4294967295",
    );
    check_store_line(
        "s1 unreadable bit=1",
        "line 3: unknown key `bit`; known: file, sector",
    );
}
