//! The tracks a participant publishes, and the publisher priority of what they carry (docs/wire.md, "Tracks").

/// Namespace field of the relay's own tracks. No participant has this name.
pub const RELAY_NAMESPACE: &str = "relay";

/// Everything a participant publishes under its own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackName {
    /// MSF JSON: which media tracks there are.
    Catalog,
    /// JSON: muted, camera, hand, reactions.
    State,
    /// JSON: what this participant receives, for the relay.
    Report,
    /// The microphone, or a film's sound.
    Audio,
    /// Sound of a shared screen.
    ScreenAudio,
    /// A shared screen.
    Screen,
    /// The camera, or a film's picture.
    Camera,
    /// The camera in a lower resolution.
    CameraLow,
}

impl TrackName {
    /// All of them, most important first.
    pub const ALL: [TrackName; 8] = [
        TrackName::Catalog,
        TrackName::State,
        TrackName::Report,
        TrackName::Audio,
        TrackName::ScreenAudio,
        TrackName::Screen,
        TrackName::CameraLow,
        TrackName::Camera,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            TrackName::Catalog => "catalog",
            TrackName::State => "state",
            TrackName::Report => "report",
            TrackName::Audio => "audio",
            TrackName::ScreenAudio => "screen-audio",
            TrackName::Screen => "screen",
            TrackName::Camera => "camera",
            TrackName::CameraLow => "camera-low",
        }
    }

    /// The track of a name on the wire; `None` for a track that is not Roundtable's.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|track| track.as_str().as_bytes() == name)
    }

    /// True for tracks whose objects are pictures.
    pub const fn is_video(self) -> bool {
        matches!(self, TrackName::Screen | TrackName::Camera | TrackName::CameraLow)
    }

    /// True for tracks whose objects are sound.
    pub const fn is_audio(self) -> bool {
        matches!(self, TrackName::Audio | TrackName::ScreenAudio)
    }

    /// Publisher priorities of the track's objects.
    pub const fn priorities(self) -> Priorities {
        match self {
            TrackName::Catalog => Priorities::all(8),
            TrackName::State | TrackName::Report => Priorities::all(12),
            TrackName::Audio => Priorities::all(16),
            TrackName::ScreenAudio => Priorities::all(20),
            TrackName::Screen => Priorities { base: 48, first_upper: 56, second_upper: 60, parity: 120 },
            TrackName::CameraLow => Priorities { base: 62, first_upper: 78, second_upper: 94, parity: 122 },
            TrackName::Camera => Priorities { base: 64, first_upper: 80, second_upper: 96, parity: 124 },
        }
    }
}

/// Publisher priorities within a track; lower is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities {
    /// Key frames and temporal layer 0; everything, in a track without layers.
    pub base: u8,
    /// Temporal layer 1.
    pub first_upper: u8,
    /// Temporal layer 2 and above.
    pub second_upper: u8,
    /// Parity of any layer.
    pub parity: u8,
}

impl Priorities {
    const fn all(priority: u8) -> Self {
        Priorities { base: priority, first_upper: priority, second_upper: priority, parity: priority }
    }

    /// Priority of the data of a frame in this temporal layer.
    pub const fn of_layer(self, temporal_layer: u8) -> u8 {
        match temporal_layer {
            0 => self.base,
            1 => self.first_upper,
            _ => self.second_upper,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again_and_foreign_names_are_not() {
        for track in TrackName::ALL {
            assert_eq!(TrackName::from_bytes(track.as_str().as_bytes()), Some(track));
        }
        assert_eq!(TrackName::from_bytes(b"Camera"), None);
        assert_eq!(TrackName::from_bytes(b""), None);
    }

    #[test]
    fn sound_goes_before_pictures_and_parity_goes_last() {
        let order = |track: TrackName| track.priorities().base;
        assert!(order(TrackName::Catalog) < order(TrackName::Audio));
        assert!(order(TrackName::Audio) < order(TrackName::Screen));
        assert!(order(TrackName::CameraLow) < order(TrackName::Camera));
        for track in TrackName::ALL.into_iter().filter(|track| track.is_video()) {
            assert!(track.priorities().of_layer(7) < TrackName::Screen.priorities().parity);
        }
    }
}
