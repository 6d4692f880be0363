//! The beginning: what the input says becomes tracks, once it is known when they begin.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use roundtable_media::names::TrackName;
use roundtable_moqt::{FullTrackName, message::TrackAlias};

use super::{
    Publication, PublicationError,
    catalog_track::{CATALOG_ALIAS, CatalogTrack, describe},
};
use crate::{
    input::{InputEvent, InputHeader},
    schedule::Schedule,
    track::MediaTrack,
};

/// How long the first frames of all tracks are waited for before the clock starts with those that are there.
const FIRST_FRAMES_WAIT: Duration = Duration::from_secs(2);

impl Publication {
    /// Takes what has been read, as long as there is room for it.
    pub(super) fn take_input(&mut self, cx: &mut Context<'_>, now: Instant) {
        while self.ending.is_none() && (self.header.is_none() || self.schedule.has_room()) {
            let Poll::Ready(event) = self.input.poll(cx) else { return };
            match event {
                InputEvent::Header(header) => self.take_header(now, header),
                InputEvent::Frame { track, frame } => {
                    if self.track_by_input.get(track).is_some_and(Option::is_some) {
                        self.schedule.push(track, frame);
                    }
                }
                InputEvent::End(result) => {
                    self.has_input_ended = true;
                    if let Err(error) = result
                        && self.failure.is_none()
                    {
                        self.failure = Some(error.into());
                    }
                    return;
                }
            }
        }
    }

    /// The first picture and the first sound are published.
    fn take_header(&mut self, now: Instant, header: InputHeader) {
        self.schedule = Schedule::new(header.tracks.iter().map(|format| format.timescale));
        let names = [self.config.role.video(), self.config.role.audio()];
        let mut taken: Vec<TrackName> = Vec::new();
        for format in &header.tracks {
            let name = names.into_iter().find(|name| name.is_video() == format.codec.is_video());
            let name = name.filter(|name| !taken.contains(name));
            self.track_by_input.push(name.map(|_| taken.len()));
            taken.extend(name);
        }
        self.schedule.ignore(|track| self.track_by_input.get(track).is_none_or(Option::is_none));
        self.header = Some(header);
        self.first_frames_until = Some(now + FIRST_FRAMES_WAIT);
    }

    /// Makes the tracks and starts the clock, when the first frames are there.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.catalog.is_some() || self.ending.is_some() {
            return;
        }
        let Some(header) = &self.header else {
            if self.has_input_ended {
                self.start_ending(now);
            }
            return;
        };
        let is_patience_over = self.first_frames_until.is_none_or(|until| until <= now);
        let is_ready = self.schedule.has_frames_of_all()
            || !self.schedule.has_room()
            || self.has_input_ended
            || (is_patience_over && !self.schedule.is_empty());
        if !is_ready {
            return;
        }
        let Some(earliest_ns) = self.schedule.earliest_ns() else {
            self.failure.get_or_insert(PublicationError::NoTrack);
            self.start_ending(now);
            return;
        };
        let shift_seconds = (-earliest_ns).max(0).unsigned_abs().div_ceil(1_000_000_000);
        self.shift_seconds = i64::try_from(shift_seconds).unwrap_or(0);
        self.schedule.start(now);

        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first_group = u64::try_from(unix.as_millis()).unwrap_or(0);
        let taken = header.tracks.iter().zip(&self.track_by_input).filter(|(_, ours)| ours.is_some());
        for ((format, _), alias) in taken.zip(CATALOG_ALIAS.0 + 1..) {
            let is_video = format.codec.is_video();
            let name = if is_video { self.config.role.video() } else { self.config.role.audio() };
            let Some(full_name) = self.full_name(name) else { continue };
            let alias = TrackAlias(alias);
            self.tracks.push(MediaTrack::new(name, full_name, alias, format.clone(), first_group));
        }
        let unix_ns = i128::try_from(unix.as_nanos()).unwrap_or(0);
        let zero_ns = unix_ns - earliest_ns - i128::from(self.shift_seconds) * 1_000_000_000;
        let catalog = describe(
            &self.tracks,
            self.config.label.as_deref(),
            u64::try_from(zero_ns / 1000).ok(),
            header.duration.zip(header.bytes),
            first_group,
        );
        if let Some(full_name) = self.full_name(TrackName::Catalog) {
            self.catalog = Some(CatalogTrack::new(now, full_name, catalog, first_group));
        }
        self.first_frames_until = None;
    }

    fn full_name(&self, name: TrackName) -> Option<FullTrackName> {
        // Names of ours are shorter than names may be.
        FullTrackName::new(self.namespace.clone(), name.as_str()).ok()
    }
}
