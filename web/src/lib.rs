//! The Roundtable web client, built with npm and embedded
