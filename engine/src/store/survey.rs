//! The first half of an open, for those who only want to know: look and decide
//! with the very code of [`super::open`], and change nothing.

use super::open::{follow, look, read_hint};
use super::tail::read_tail;
use super::{Options, Report};
use crate::error::Result;
use crate::fs::dir::Dir;
use crate::host::Host;
use crate::ids::Index;

/// What an open of these files would report, or why it would refuse. The caller
/// has made sure that there is a store, so that nothing has to be created.
pub(crate) async fn survey(host: &Host, dir: &Dir, names: &[String]) -> Result<Report> {
    let mut report = Report::default();
    let options = Options::default();
    let found = look(host, dir, names, &options, &mut report).await?;
    let snapshot = found.snapshot.as_ref().map(|s| s.meta().clone());
    let end = snapshot.as_ref().map_or(Index(0), |meta| meta.last_index);
    let chain = follow(
        host,
        dir,
        found.segments,
        &found.snapshot,
        options.mutants,
        &mut report,
    )
    .await?;
    let tail = read_tail(host, chain, &options, &mut report).await?;
    report.last_index = tail.end.index.prev();
    report.first_index = tail
        .live
        .first()
        .map_or(report.last_index.next(), |s| s.header.base);
    if report.last_index < end {
        let covered = tail.live.iter().map(|s| s.header.file_name());
        report.garbage.extend(covered);
        report.last_index = end;
        report.first_index = end.next();
    }
    (report.garbage).extend_from_slice(&report.torn_segments);
    let log_id = found.hard_state.current.log_id;
    read_hint(host, dir, names, log_id, report.last_index, &mut report).await?;
    report.hard_state = found.hard_state.current.hard_state;
    report.snapshot = snapshot;
    Ok(report)
}
