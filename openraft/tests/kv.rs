//! The example in its short form. (Cargo builds examples before it runs tests.)

use std::process::Command;

#[test]
fn nothing_acknowledged_is_lost_when_the_leader_is_killed() {
    // .../deps/kv-1234 and .../examples/kv
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let output = Command::new(target.join("examples/kv"))
        .args(["--writes", "900"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    let nodes = said.matches("all 900 are there").count();
    assert_eq!(nodes, 4, "the cluster, and each of three nodes: {said}");
    assert!(said.contains("kill -9 of node"), "{said}");
    assert!(
        said.ends_with("nothing that was acknowledged was lost\n"),
        "{said}"
    );
}
