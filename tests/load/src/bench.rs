//! `make bench`: the relay under load beside the lean limit, in turns, so that a machine whose speed changes changes
//! both.

mod report;
mod run;
mod scenario;

pub use self::{
    report::{Report, Row},
    run::{Bench, Measured},
    scenario::{SCENARIOS, Scenario},
};
