//! Every crash point, with every state that a crash may leave.
//!
//! A workload runs once, and before each of its mutating file operations the
//! disk is kept. There the power is cut, once for each choice of what persists
//! of what is pending (see [`Level`]). What is left is opened, judged and used
//! further; and as that is file operations, too, the power is cut again in the
//! middle of it, as deep as asked. At each point the process is also killed,
//! which leaves the cache: what the next one recovers from it may be gone when
//! the power goes then.
//!
//! A point between two operations stands for the middle of the first one, too:
//! all that it left is pending, so that the choices are those of its middle. Of
//! a sync the same is true of the point before it.
//!
//! Most choices leave what others left already. An image that was judged once
//! needs no second look, unless more must be on it.

mod own;
mod point;
mod search;
pub mod store;
mod subset;

pub use own::{Acks, Explore, Explored, Failure, Outcome};
pub use point::{End, Op, Place};
pub use search::{Bounds, Counts};
pub use subset::Level;
