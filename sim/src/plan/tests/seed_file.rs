use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{apply, edit, plan};
use crate::plan::seed_file::{Expectation, SeedFile};
use crate::verdict::{Invariant, Verdict};

proptest! {
    #[test]
    fn seed_files_read_back(
        plan in plan(),
        about in "\\PC{0,40}",
        mutant in option::of("[a-z'\"\\\\-]{1,12}"),
    ) {
        let file = SeedFile {
            about,
            expect: vec![
                Expectation { mutant, verdict: Verdict::Fail(Invariant::AckedDurable) },
                Expectation { mutant: Some("UP".to_string()), verdict: Verdict::Vacuous },
            ],
            plan,
        };
        prop_assert_eq!(SeedFile::parse(&file.to_string()), Ok(file));
    }

    #[test]
    fn damaged_seed_files_never_panic(plan in plan(), edits in vec(edit(), 1..6)) {
        let expect = vec![Expectation { mutant: None, verdict: Verdict::Pass }];
        let file = SeedFile { about: "x".to_string(), expect, plan };
        let text = apply(&file.to_string(), &edits);
        match SeedFile::parse(&text) {
            Ok(file) => prop_assert_eq!(SeedFile::parse(&file.to_string()), Ok(file)),
            Err(e) => prop_assert!(!e.to_string().contains('\n'), "{}", e),
        }
    }
}

#[track_caller]
fn check_seed_file(text: &str, expected: &str) {
    assert_eq!(SeedFile::parse(text).unwrap_err().to_string(), expected);
}

#[test]
fn refusals_of_seed_files() {
    let plan = "plan = '''\nplan 1\nscenario raft-3\ns1 evict n1\n'''\n";
    let pass = "about = ''\nexpect = [{ verdict = 'pass' }]\n";
    let whole = format!("{pass}{plan}");
    assert!(SeedFile::parse(&whole).is_ok());

    // Lines of the plan are lines of the file, however the string is written.
    check_seed_file(&whole.replace(" n1", ""), "line 6: target is missing");
    check_seed_file(
        &whole.replace("'''\nplan", "'''plan").replace(" n1", ""),
        "line 5: target is missing",
    );
    check_seed_file(
        &format!("{pass}plan = \"plan 2\""),
        "line 3: plan version 2, this build knows up to 1",
    );
    check_seed_file(
        "# a bare plan\nplan 1\nnet x=1",
        "line 3: unknown key `x`; \
        known: latency_us, loss, duplicate, reorder, reorder_us_max, \
         corrupt, uneven, bandwidth",
    );

    check_seed_file(pass, "line 1: missing field `plan`");
    check_seed_file(plan, "line 1: missing field `about`");
    check_seed_file(
        &whole.replace("about", "abuot"),
        "line 1: unknown field `abuot`, expected one of `about`, `expect`, `plan`",
    );
    check_seed_file(
        &whole.replace("verdict", "mutnat = 'x', verdict"),
        "line 2: unknown field `mutnat`, expected `mutant` or `verdict`",
    );
    check_seed_file(
        &whole.replace("{ verdict = 'pass' }", ""),
        "line 2: `expect` is empty, so the file would check nothing",
    );
    check_seed_file(
        &whole.replace("'pass'", "'fail(x)'"),
        "line 2: unknown invariant `x`; \
         verdicts are pass, fail(INVARIANT), vacuous, nondeterministic",
    );
    check_seed_file(
        &whole.replace(
            "[{",
            "[{ mutant = 'm', verdict = 'pass' },\n{ mutant = 'm',",
        ),
        "line 3: a second expectation for mutant `m`",
    );
    check_seed_file(
        &whole.replace("[{", "[{ verdict = 'vacuous' },\n{"),
        "line 3: a second expectation for the engine itself",
    );
    check_seed_file(
        "about = ",
        "line 1: string values must be quoted, expected literal string",
    );
}

/// The form that people edit and review.
#[test]
fn a_seed_file_as_text() {
    let text = r#"about = "Renamed into place before its bytes were synced."
expect = [
  { mutant = "snapshot-not-synced", verdict = "fail(acked-durable)" },
  { verdict = "pass" },
]
plan = '''
plan 1
scenario raft-3
seed 0x51f0
s7 @900 crash n1 op=rename:snapshot nth=1 point=after down=500
'''
"#;
    assert_eq!(SeedFile::parse(text).unwrap().to_string(), text);
}

#[test]
fn a_bare_plan_is_expected_to_pass() {
    let file = SeedFile::parse("# why\nplan 1\nscenario raft-3\ns1 evict n1").unwrap();
    let pass = Expectation {
        mutant: None,
        verdict: Verdict::Pass,
    };
    assert_eq!(file.expect, [pass]);
    assert_eq!(file.plan.steps.len(), 1);
}
