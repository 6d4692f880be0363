//! Fan-out of MoQ objects: tracks, cache, per-subscriber queues, drop policy
