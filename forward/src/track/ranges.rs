//! Sets of locations as ranges.
