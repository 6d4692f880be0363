//! End-to-end tests, the lossy link and the benchmarks of Roundtable
