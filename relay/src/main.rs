//! The Roundtable relay: rooms, calls and recordings over Media over QUIC

fn main() {}
