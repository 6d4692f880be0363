//! FETCH out of the cache (draft 10.12, 11.4.4).

use roundtable_moqt::{Location, fetch_stream::FetchItem};

/// The beginning of an answer to a FETCH.
#[derive(Debug)]
pub struct Fetch {
    /// End Location of FETCH_OK, in its encoding.
    pub end: Location,
    /// End Of Track of FETCH_OK.
    pub end_of_track: bool,
    /// Where the answer stands.
    pub cursor: FetchCursor,
}

/// Where an answer to a FETCH stands.
#[derive(Debug)]
pub struct FetchCursor {}

/// What comes next in an answer to a FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To be written to the stream.
    Item(FetchItem),
    /// What comes next is being repaired: ask again when something was inserted or resolved, at the latest at the
    /// time.
    Wait(std::time::Instant),
    /// Nothing follows: FIN.
    Done,
}
