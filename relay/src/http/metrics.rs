//! Metrics in Prometheus' text format, for this machine's administrator.

use std::{fmt::Write as _, sync::Arc};

use axum::{Router, http::header, routing::get};

use super::guard;
use crate::{
    counters::{Counters, Figure, Kind},
    doors::Doors,
};

/// `/metrics` and `/healthz`.
pub fn router(doors: Arc<Doors>, counters: Arc<Counters>) -> Router {
    let metrics = move || {
        let text = text(counters.figures());
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
    };
    let router = Router::new().route("/metrics", get(metrics)).route("/healthz", get(async || "ok\n"));
    guard::guarded(router, doors)
}

fn text(figures: impl Iterator<Item = Figure>) -> String {
    let mut text = String::new();
    for Figure { name, help, kind, value } in figures {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP roundtable_{name} {help}\n# TYPE roundtable_{name} {kind}\nroundtable_{name} {value}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_help_type_and_value() {
        let figure =
            Figure { name: "sessions_open", help: "Sessions that are open", kind: Kind::Gauge, value: 3 };
        assert_eq!(
            text([figure].into_iter()),
            "# HELP roundtable_sessions_open Sessions that are open\n# TYPE roundtable_sessions_open gauge\n\
             roundtable_sessions_open 3\n"
        );
    }
}
