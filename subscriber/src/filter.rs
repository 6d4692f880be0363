//! Which tracks are wanted.

use std::str::FromStr;

/// A list of patterns; a track is wanted when one of them fits. An empty list wants every track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackFilter {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    participant: Option<String>,
    track: String,
}

/// Not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no track: write TRACK or PARTICIPANT/TRACK, such as audio or alice/camera or 'al*/*'")]
pub struct FilterSyntax(String);

impl FromStr for TrackFilter {
    type Err = FilterSyntax;

    /// Patterns between commas: `TRACK` or `PARTICIPANT/TRACK`, `*` standing for any text.
    fn from_str(text: &str) -> Result<Self, FilterSyntax> {
        let pattern = |text: &str| {
            let text = text.trim();
            let (participant, track) = match text.rsplit_once('/') {
                Some((participant, track)) => (Some(participant.to_owned()), track),
                None => (None, text),
            };
            if track.is_empty() || participant.as_deref() == Some("") {
                return Err(FilterSyntax(text.to_owned()));
            }
            Ok(Pattern { participant, track: track.to_owned() })
        };
        Ok(TrackFilter { patterns: text.split(',').map(pattern).collect::<Result<_, _>>()? })
    }
}

impl TrackFilter {
    /// True when the track is wanted.
    pub fn wants(&self, participant: &str, track: &str) -> bool {
        self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| {
                fits(&pattern.track, track)
                    && pattern.participant.as_deref().is_none_or(|wanted| fits(wanted, participant))
            })
    }
}

/// True when `text` is `pattern` with each `*` replaced by some text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_tracks_of_anybody_or_of_somebody() {
        let filter: TrackFilter = "audio, alice/cam*,b*b/screen".parse().unwrap();
        assert!(filter.wants("bob", "audio"));
        assert!(filter.wants("alice", "camera-low"));
        assert!(!filter.wants("bob", "camera"));
        assert!(filter.wants("beeb", "screen") && !filter.wants("b", "screen"));
        assert!(TrackFilter::default().wants("anybody", "anything"));
        assert!("alice/*".parse::<TrackFilter>().unwrap().wants("alice", ""));
    }

    #[test]
    fn patterns_without_a_track_are_refused() {
        for text in ["", "alice/", "/audio", "audio,,camera"] {
            assert!(text.parse::<TrackFilter>().is_err(), "{text:?}");
        }
    }
}
