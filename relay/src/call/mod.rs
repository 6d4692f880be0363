//! Calls: ringing people on all their devices, and what comes of it.
//!
//! - [`ringing`]: one call, as a value.
//! - [`Calls`]: all of them; the API comes here. What users are told goes to their inbox, what happened to the journal.

mod calls;
pub mod ringing;

pub use self::calls::{Calls, Placed};
