//! Receives a Roundtable room and records it
