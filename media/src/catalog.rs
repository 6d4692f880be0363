//! The catalog of a participant: MSF JSON (draft-ietf-moq-msf, docs/wire.md, "Catalog").
//!
//! Every object of the track `catalog` is a whole catalog. Reading is tolerant: unknown fields are passed over and
//! a track that is not understood is listed as ignored, with the reason; it never costs the others.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use roundtable_moqt::properties::{Reader, Value};
use serde::{Deserialize, Serialize};

use crate::format::{Codec, Format, Shape};

/// The version of MSF that is written and understood.
pub const VERSION: &str = "draft-01";
/// Largest catalog that is read, bytes, before and after decompression.
pub const CATALOG_BYTES_MAX: usize = 256 * 1024;
/// Most tracks read from a catalog; further ones are ignored.
pub const TRACKS_MAX: usize = 64;
/// MSF_COMPRESSION, a property of the track or of an object: 0 is none, 1 is gzip.
pub const COMPRESSION: u64 = 0x78;

/// Why a catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Over [`CATALOG_BYTES_MAX`].
    #[error("the catalog is larger than 256 KiB")]
    TooLarge,
    /// Not JSON, or not the JSON of a catalog.
    #[error("the catalog is not MSF JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of MSF.
    #[error("the catalog is of MSF version {0:?}, not \"draft-01\"")]
    Version(String),
    /// A delta update; Roundtable's publishers send whole catalogs.
    #[error("the catalog is a delta update, which is not supported")]
    Delta,
    /// Compressed in a way nobody knows, or not what it says.
    #[error("the catalog's compression is not readable")]
    Compression,
}

/// What one participant publishes right now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    /// When it was made, Unix milliseconds.
    pub generated_at_ms: Option<u64>,
    /// True when nothing will ever be added.
    pub is_complete: bool,
    /// Tracks of media.
    pub tracks: Vec<CatalogTrack>,
    /// Entries that were not understood (filled by reading only).
    pub ignored: Vec<IgnoredTrack>,
}

/// One track of media.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogTrack {
    /// Track name; unique in the catalog.
    pub name: String,
    /// Namespace when it is not the catalog's own, fields joined by `/`.
    pub namespace: Option<String>,
    /// How frames stand in objects.
    pub packaging: Packaging,
    /// False when nothing will be added to the track.
    pub is_live: bool,
    /// What a decoder must know. Its timescale is that of [`Clock`].
    pub format: Format,
    /// Most bits per second; 0 when unsaid.
    pub bitrate: u64,
    /// Tracks with the same number show the same thing and start groups together.
    pub alt_group: Option<u32>,
    /// Tracks with the same number belong together.
    pub render_group: Option<u32>,
    /// Temporal layers in the track, at least 1.
    pub temporal_layers: u8,
    /// What the time stamps count.
    pub clock: Clock,
    /// A name for people.
    pub label: Option<String>,
}

/// How frames stand in objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packaging {
    /// `loc`: one frame, one object.
    Loc,
    /// `loc-fragments`: as LOC, but a frame may be in pieces (docs/wire.md, FRAGMENT).
    LocFragments,
}

impl Packaging {
    /// The name in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Packaging::Loc => "loc",
            Packaging::LocFragments => "loc-fragments",
        }
    }

    fn from_str(text: &str) -> Option<Self> {
        [Packaging::Loc, Packaging::LocFragments].into_iter().find(|packaging| packaging.as_str() == text)
    }
}

/// What the time stamps of a track count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Microseconds since 1970: live capture.
    Unix,
    /// Ticks of the format's timescale from a zero of the publisher's choice: a file.
    Media {
        /// Unix microseconds at which tick 0 was sent or is due.
        zero_unix_us: Option<u64>,
    },
}

/// An entry of a catalog that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredTrack {
    /// Its name, if it has one.
    pub name: String,
    /// What is missing or unknown.
    pub reason: String,
}

impl Catalog {
    /// The track of this name.
    pub fn track(&self, name: &str) -> Option<&CatalogTrack> {
        self.tracks.iter().find(|track| track.name == name)
    }

    /// The JSON, as the payload of an object.
    pub fn encode(&self) -> Bytes {
        let init_data_list: Vec<InitDataJson> = self
            .tracks
            .iter()
            .filter(|track| !track.format.config.is_empty())
            .map(|track| InitDataJson {
                id: track.name.clone(),
                kind: "inline".into(),
                data: BASE64.encode(&track.format.config),
            })
            .collect();
        let json = CatalogJson {
            version: VERSION.into(),
            generated_at: self.generated_at_ms,
            is_complete: self.is_complete,
            tracks: self.tracks.iter().map(TrackJson::from).collect(),
            init_data_list,
        };
        // Strings and numbers only: nothing here can fail to serialize.
        serde_json::to_vec(&json).map(Bytes::from).unwrap_or_default()
    }

    /// Reads a catalog object. `compression` comes from [`compression`].
    pub fn decode(payload: &[u8], compression: Compression) -> Result<Self, CatalogError> {
        if payload.len() > CATALOG_BYTES_MAX {
            return Err(CatalogError::TooLarge);
        }
        match compression {
            Compression::None => Self::from_json(payload),
            Compression::Gzip => Self::from_json(&gunzip(payload)?),
            Compression::Unknown => Err(CatalogError::Compression),
        }
    }

    fn from_json(json: &[u8]) -> Result<Self, CatalogError> {
        let root: RootJson = serde_json::from_slice(json)?;
        if root.delta_update.is_some() {
            return Err(CatalogError::Delta);
        }
        let version = root.version.unwrap_or_default();
        if version != VERSION {
            return Err(CatalogError::Version(version.chars().take(32).collect()));
        }
        let mut catalog = Catalog {
            generated_at_ms: root.generated_at.and_then(|at| at.as_u64()),
            is_complete: root.is_complete,
            ..Catalog::default()
        };
        for (at, entry) in root.tracks.into_iter().enumerate() {
            let name: String = entry
                .get("name")
                .and_then(|name| name.as_str())
                .unwrap_or_default()
                .chars()
                .take(256)
                .collect();
            let read = if at < TRACKS_MAX {
                read_track(entry, &root.init_data_list)
            } else {
                Err("there are too many tracks".into())
            };
            match read {
                Ok(track) if catalog.track(&track.name).is_none() => catalog.tracks.push(track),
                Ok(_) => catalog.ignored.push(IgnoredTrack { name, reason: "the name stands twice".into() }),
                Err(reason) if catalog.ignored.len() < TRACKS_MAX => {
                    catalog.ignored.push(IgnoredTrack { name, reason });
                }
                Err(_) => {}
            }
        }
        Ok(catalog)
    }
}

/// How a catalog object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain JSON.
    None,
    /// RFC 1952.
    Gzip,
    /// A number nobody knows.
    Unknown,
}

/// The compression that the properties of the track or of the object announce.
pub fn compression(track_properties: &Bytes, object_properties: &Bytes) -> Compression {
    let announced = |properties: &Bytes| {
        Reader::new(properties.clone()).flatten().find_map(|pair| match pair {
            (COMPRESSION, Value::Integer(value)) => Some(value),
            _ => None,
        })
    };
    match announced(object_properties).or_else(|| announced(track_properties)) {
        None | Some(0) => Compression::None,
        Some(1) => Compression::Gzip,
        Some(_) => Compression::Unknown,
    }
}

fn gunzip(payload: &[u8]) -> Result<Vec<u8>, CatalogError> {
    let mut json = Vec::new();
    let limit = CATALOG_BYTES_MAX as u64 + 1;
    flate2::read::GzDecoder::new(payload)
        .take(limit)
        .read_to_end(&mut json)
        .map_err(|_| CatalogError::Compression)?;
    if json.len() > CATALOG_BYTES_MAX {
        return Err(CatalogError::TooLarge);
    }
    Ok(json)
}

// ---- the JSON

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CatalogJson {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated_at: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_complete: bool,
    tracks: Vec<TrackJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_data_list: Vec<InitDataJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RootJson {
    version: Option<String>,
    generated_at: Option<serde_json::Number>,
    #[serde(default)]
    is_complete: bool,
    delta_update: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    tracks: Vec<serde_json::Value>,
    #[serde(default)]
    init_data_list: Vec<InitDataJson>,
}

#[derive(Serialize, Deserialize)]
struct InitDataJson {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TrackJson {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    packaging: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_live: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    render_group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alt_group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    framerate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samplerate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timescale: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporal_layers: Option<u8>,
}

impl From<&CatalogTrack> for TrackJson {
    fn from(track: &CatalogTrack) -> Self {
        let mut json = TrackJson {
            name: track.name.clone(),
            namespace: track.namespace.clone(),
            packaging: track.packaging.as_str().into(),
            is_live: Some(track.is_live),
            role: Some(if track.format.codec.is_video() { "video" } else { "audio" }.into()),
            label: track.label.clone(),
            render_group: track.render_group,
            alt_group: track.alt_group,
            init_ref: (!track.format.config.is_empty()).then(|| track.name.clone()),
            codec: Some(track.format.codec_string.clone()),
            bitrate: Some(track.bitrate as f64),
            ..TrackJson::default()
        };
        match track.format.shape {
            Shape::Video { width, height, framerate } => {
                json.width = Some(width);
                json.height = Some(height);
                json.framerate = framerate;
                json.temporal_layers = Some(track.temporal_layers);
            }
            Shape::Audio { samplerate, channels } => {
                json.samplerate = Some(samplerate);
                json.channel_config = Some(channels.to_string());
            }
        }
        if let Clock::Media { zero_unix_us } = track.clock {
            json.timescale = Some(track.format.timescale);
            json.epoch_us = zero_unix_us;
        }
        json
    }
}

fn read_track(entry: serde_json::Value, init_data: &[InitDataJson]) -> Result<CatalogTrack, String> {
    let json: TrackJson = serde_json::from_value(entry).map_err(|error| error.to_string())?;
    if json.name.is_empty() || json.name.len() > 256 {
        return Err("the name is empty or longer than 256 bytes".into());
    }
    let packaging = Packaging::from_str(&json.packaging).ok_or("the packaging is unknown")?;
    let codec_string = json.codec.clone().ok_or("there is no codec")?;
    let codec = Codec::from_string(&codec_string).ok_or("the codec is unknown")?;
    let (timescale, clock) = match json.timescale {
        None => (1_000_000, Clock::Unix),
        Some(0) => return Err("the timescale is 0".into()),
        Some(timescale) => (timescale, Clock::Media { zero_unix_us: json.epoch_us }),
    };
    let config = read_init_data(json.init_ref.as_deref(), init_data)?;
    if codec == Codec::H264 && config.is_empty() {
        return Err("H.264 needs its avcC".into());
    }
    let format = Format { codec, codec_string, shape: read_shape(codec, &json)?, config, timescale };
    Ok(CatalogTrack {
        name: json.name,
        namespace: json.namespace,
        packaging,
        is_live: json.is_live.ok_or("there is no isLive")?,
        format,
        // Beyond 2^64 or below 0 the conversion saturates, which is as good as any answer.
        bitrate: json.bitrate.unwrap_or(0.0) as u64,
        alt_group: json.alt_group,
        render_group: json.render_group,
        // Only pictures have any.
        temporal_layers: json.temporal_layers.filter(|_| codec.is_video()).unwrap_or(1).clamp(1, 8),
        clock,
        label: json.label,
    })
}

/// Longest side of a picture that is believed.
const SIDE_MAX: u32 = 16_384;
/// Fastest sampling that is believed, Hz.
const SAMPLERATE_MAX: u32 = 768_000;

fn read_shape(codec: Codec, json: &TrackJson) -> Result<Shape, String> {
    if codec.is_video() {
        let side = |side: Option<u32>| side.filter(|side| (1..=SIDE_MAX).contains(side));
        return Ok(Shape::Video {
            width: side(json.width).ok_or("there is no width")?,
            height: side(json.height).ok_or("there is no height")?,
            framerate: json.framerate.filter(|rate| rate.is_finite() && *rate > 0.0 && *rate <= 1000.0),
        });
    }
    let samplerate = json.samplerate.filter(|rate| (1..=SAMPLERATE_MAX).contains(rate));
    let channels = match json.channel_config.as_deref().ok_or("there is no channelConfig")? {
        "mono" => Some(1),
        "stereo" => Some(2),
        number => number.parse().ok().filter(|channels| (1..=255).contains(channels)),
    };
    Ok(Shape::Audio {
        samplerate: samplerate.ok_or("there is no samplerate")?,
        channels: channels.ok_or("the channelConfig is unknown")?,
    })
}

fn read_init_data(reference: Option<&str>, list: &[InitDataJson]) -> Result<Bytes, String> {
    let Some(reference) = reference else { return Ok(Bytes::new()) };
    let entry = list.iter().find(|entry| entry.id == reference).ok_or("the initRef refers to nothing")?;
    if entry.kind != "inline" {
        return Err("the initialization data is not inline".into());
    }
    BASE64.decode(&entry.data).map(Bytes::from).map_err(|_| "the initialization data is not base64".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    pub(crate) fn sample() -> Catalog {
        let video = CatalogTrack {
            name: "camera".into(),
            namespace: None,
            packaging: Packaging::LocFragments,
            is_live: true,
            format: Format {
                codec: Codec::H264,
                codec_string: "avc1.64001f".into(),
                shape: Shape::Video { width: 1280, height: 720, framerate: Some(29.97) },
                config: Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff]),
                timescale: 90_000,
            },
            bitrate: 2_500_000,
            alt_group: Some(1),
            render_group: Some(1),
            temporal_layers: 1,
            clock: Clock::Media { zero_unix_us: Some(1_790_000_000_000_000) },
            label: Some("Käthe's film".into()),
        };
        let audio = CatalogTrack {
            name: "audio".into(),
            packaging: Packaging::Loc,
            format: Format {
                codec: Codec::Opus,
                codec_string: "opus".into(),
                shape: Shape::Audio { samplerate: 48_000, channels: 2 },
                config: Bytes::new(),
                timescale: 1_000_000,
            },
            bitrate: 64_000,
            alt_group: None,
            clock: Clock::Unix,
            label: None,
            ..video.clone()
        };
        Catalog {
            generated_at_ms: Some(1_790_000_000_000),
            is_complete: false,
            tracks: vec![video, audio],
            ignored: vec![],
        }
    }

    fn decode(json: &str) -> Result<Catalog, CatalogError> {
        Catalog::decode(json.as_bytes(), Compression::None)
    }

    #[test]
    fn a_catalog_round_trips() {
        let catalog = sample();
        assert_eq!(Catalog::decode(&catalog.encode(), Compression::None).unwrap(), catalog);
    }

    #[test]
    fn a_track_that_is_not_understood_costs_only_itself() {
        let catalog = decode(
            r#"{"version":"draft-01","new":{"a":[1]},"tracks":[
                {"name":"history","packaging":"mediatimeline","isLive":true},
                {"name":"future","packaging":"loc","isLive":true,"codec":"h267","width":1,"height":1},
                {"name":"broken","packaging":"loc","isLive":"yes"},
                {"name":"bare","packaging":"loc","isLive":true,"codec":"avc1.64001f","width":8,"height":8},
                7,
                {"name":"audio","packaging":"loc","isLive":true,"codec":"opus","samplerate":48000,
                 "channelConfig":"mono","bitrate":32000.5,"com.example-tier":"premium"},
                {"name":"audio","packaging":"loc","isLive":true,"codec":"opus","samplerate":48000,
                 "channelConfig":"2"}]}"#,
        )
        .unwrap();
        assert_eq!(catalog.tracks.len(), 1);
        assert_eq!(catalog.tracks[0].format.shape, Shape::Audio { samplerate: 48_000, channels: 1 });
        let ignored: Vec<_> = catalog.ignored.iter().map(|track| track.name.as_str()).collect();
        assert_eq!(ignored, ["history", "future", "broken", "bare", "", "audio"]);
    }

    #[test]
    fn other_versions_and_delta_updates_are_refused_by_name() {
        assert!(matches!(
            decode(r#"{"version":"draft-99","tracks":[]}"#),
            Err(CatalogError::Version(version)) if version == "draft-99"
        ));
        assert!(matches!(decode(r#"{"tracks":[]}"#), Err(CatalogError::Version(_))));
        assert!(matches!(decode(r#"{"generatedAt":1,"deltaUpdate":[]}"#), Err(CatalogError::Delta)));
        assert!(matches!(decode("no json"), Err(CatalogError::Json(_))));
    }

    #[test]
    fn gzip_is_read_as_far_as_the_bound() {
        let pack = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let packed = pack(&sample().encode());
        assert_eq!(Catalog::decode(&packed, Compression::Gzip).unwrap(), sample());
        let bomb = pack(&vec![b' '; 16 << 20]);
        assert!(bomb.len() < CATALOG_BYTES_MAX);
        assert!(matches!(Catalog::decode(&bomb, Compression::Gzip), Err(CatalogError::TooLarge)));
        assert!(matches!(Catalog::decode(b"no gzip", Compression::Gzip), Err(CatalogError::Compression)));
        let plain = vec![b' '; CATALOG_BYTES_MAX + 1];
        assert!(matches!(Catalog::decode(&plain, Compression::None), Err(CatalogError::TooLarge)));
    }

    #[test]
    fn compression_stands_in_the_objects_properties_or_the_tracks() {
        let property = |value| {
            let mut writer = roundtable_moqt::properties::Writer::new();
            writer.integer(COMPRESSION, value);
            writer.finish()
        };
        assert_eq!(compression(&Bytes::new(), &Bytes::new()), Compression::None);
        assert_eq!(compression(&property(1), &Bytes::new()), Compression::Gzip);
        assert_eq!(compression(&Bytes::new(), &property(1)), Compression::Gzip);
        assert_eq!(compression(&Bytes::new(), &property(9)), Compression::Unknown);
    }

    #[test]
    fn numbers_beyond_belief_do_not_get_through() {
        for track in [
            r#""codec":"vp8","width":100000,"height":1"#,
            r#""codec":"vp8","width":-1,"height":1"#,
            r#""codec":"vp8","width":8,"height":8,"timescale":0"#,
            r#""codec":"opus","samplerate":0,"channelConfig":"2""#,
            r#""codec":"opus","samplerate":48000,"channelConfig":"900""#,
        ] {
            let json = format!(
                r#"{{"version":"draft-01","tracks":[{{"name":"a","packaging":"loc","isLive":true,{track}}}]}}"#
            );
            assert_eq!(decode(&json).unwrap().ignored.len(), 1, "{track}");
        }
    }
}
