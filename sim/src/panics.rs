//! Panics as results: what runs in a simulation may panic, and that is a
//! finding, not the end of the process.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// What the last panic on this thread said, if it is one of ours.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does `work`. The error is what a panic in it said, and where, in one line.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    SAID.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(work));
    let said = SAID.take().unwrap_or_default();
    done.map_err(|panic| match said.is_empty() {
        true => text(&*panic),
        false => said,
    })
}

/// What a panic was called with.
pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Panics of runs are reported with their verdict, not on stderr.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = SAID.with_borrow_mut(|said| match said {
                Some(said) => {
                    *said = info.to_string().replace('\n', ": ");
                    true
                }
                None => false,
            });
            if !ours {
                before(info);
            }
        }));
    });
}
