//! The report of a campaign in JUnit's XML: a suite a scenario, a case a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use afterimage_sim::verdict::Verdict;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::campaign::Ran;
use crate::error::Error;
use crate::out::Sink;

/// The runs to report, kept only when a report is asked for.
pub struct Junit {
    sink: Sink,
    suites: BTreeMap<&'static str, TestSuite>,
}

impl Junit {
    pub fn new(sink: Sink) -> Self {
        Junit {
            sink,
            suites: BTreeMap::new(),
        }
    }

    /// `told` is what the terminal shows of a run that is not well.
    pub fn add(&mut self, ran: &Ran, told: &str) {
        let status = match ran.verdict() {
            Verdict::Pass => TestCaseStatus::success(),
            verdict => {
                let kind = match verdict {
                    Verdict::Fail(_) => NonSuccessKind::Failure,
                    _ => NonSuccessKind::Error,
                };
                let mut status = TestCaseStatus::non_success(kind);
                status
                    .set_type(verdict.to_string())
                    .set_message(ran.detail())
                    .set_description(told);
                status
            }
        };
        let mut case = TestCase::new(format!("{} {:#x}", ran.scenario, ran.seed), status);
        case.set_classname(ran.scenario).set_time(ran.wall);
        self.suites
            .entry(ran.scenario)
            .or_insert_with(|| TestSuite::new(ran.scenario))
            .add_test_case(case);
    }

    pub fn write(self, wall: Duration) -> Result<(), Error> {
        let mut report = Report::new("afterimage");
        report
            .set_time(wall)
            .add_test_suites(self.suites.into_values());
        let xml = report.to_string().expect("UTF-8 is all it needs");
        self.sink.write(xml.as_bytes())
    }
}
