//! Publishes a file, a pipe or a test card into a Roundtable room

fn main() {}
