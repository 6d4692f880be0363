//! FETCHes of ours to the peer: for what its datagrams left out, and for what a subscriber wants of the past.

use std::{collections::HashMap, sync::Arc, time::Instant};

use roundtable_forward::{
    PublisherId, Terms,
    track::{Gap, Repair},
};
use roundtable_moqt::{
    FullTrackName, Parameters, RequestErrorCode, StreamResetCode,
    fetch_stream::FetchItem,
    message::{Fetch, FetchOk, FetchRange, RequestError, RequestId},
};
use roundtable_transport::Io;

use super::{Fill, Order, Peer};
use crate::{fanout::Track, room::LinkId};

/// FETCHes that the peer has not answered whole.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    by_request: HashMap<RequestId, Job>,
}

#[derive(Debug)]
struct Job {
    track: Arc<Track>,
    repair: Repair,
    /// Who waits for it; `None` when it repairs the uplink.
    fill: Option<Arc<Fill>>,
}

impl Peer {
    /// Asks the peer for what its datagrams left out.
    pub(super) fn repair(&mut self, io: &mut Io<'_>, link: LinkId, gap: Gap) {
        let Some(request) = self.upstream_request(link) else { return };
        let Some((track, _)) = self.publications.source(request) else { return };
        self.fetch_upstream(io, track, gap, None);
    }

    /// Asks the peer for what a subscriber wants.
    pub(super) fn fill(&mut self, io: &mut Io<'_>, fill: Arc<Fill>) {
        // A publisher of the namespace alone has no link; its name must not be taken for one.
        let publisher = self.publications.source_of(&fill.track);
        let publisher = publisher.unwrap_or(PublisherId(u64::MAX - self.handle.id.0));
        self.fetch_upstream(io, Arc::clone(&fill.track), fill.gap(publisher), Some(fill));
    }

    fn fetch_upstream(&mut self, io: &mut Io<'_>, track: Arc<Track>, gap: Gap, fill: Option<Arc<Fill>>) {
        let repair = Repair::new(gap);
        let job = Job { track, repair, fill };
        if self.repairs.by_request.len() >= self.relay.limits.repairs_per_session_max {
            self.end_job(io.now, job, false);
            return;
        }
        self.relay.counters.repairs_total.increment();
        let name: FullTrackName = job.track.name.clone();
        let range = FetchRange::Standalone { track: name, start: gap.start, end: gap.end };
        match io.session.fetch(Fetch { range, parameters: Parameters::default() }) {
            Ok(request) => drop(self.repairs.by_request.insert(request, job)),
            Err(_) => self.end_job(io.now, job, false),
        }
    }

    /// FETCH_OK.
    pub(super) fn fetch_accepted(&mut self, id: RequestId, ok: &FetchOk) {
        let Some(job) = self.repairs.by_request.get_mut(&id) else { return };
        job.repair.accepted(ok.end);
        // A track known by FETCH alone is what FETCH_OK says.
        if job.fill.is_some() && self.publications.source_of(&job.track).is_none() {
            let terms = Terms::new(&ok.track_properties).unwrap_or_default();
            job.track.describe(terms, ok.track_properties.clone(), None);
        }
    }

    /// An item of the answer.
    pub(super) fn fetch_item(&mut self, io: &mut Io<'_>, id: RequestId, item: FetchItem) {
        let Some(job) = self.repairs.by_request.get_mut(&id) else { return };
        let Err(malformed) = job.track.repair_item(io.now, &mut job.repair, item) else { return };
        let publisher = job.repair.gap().publisher;
        let Some(job) = self.repairs.by_request.remove(&id) else { return };
        let track = Arc::clone(&job.track);
        self.end_job(io.now, job, false);
        // Fails only when the request is gone.
        let _ = io.session.cancel(id, StreamResetCode::MalformedTrack);
        self.malformed(io.now, &track, publisher, malformed);
    }

    /// The answer's stream ended.
    pub(super) fn fetch_ended(&mut self, io: &mut Io<'_>, id: RequestId, is_complete: bool) {
        if let Some(job) = self.repairs.by_request.remove(&id) {
            self.end_job(io.now, job, is_complete);
        }
    }

    /// REQUEST_ERROR to a FETCH of ours; false when it is none.
    pub(super) fn fetch_refused(&mut self, io: &mut Io<'_>, id: RequestId, error: &RequestError) -> bool {
        let Some(job) = self.repairs.by_request.remove(&id) else { return false };
        if let Some(fill) = &job.fill {
            fill.refuse(error.clone());
        } else if error.code == RequestErrorCode::NotSupported {
            job.track.stop_repairs(job.repair.gap().publisher);
        }
        self.end_job(io.now, job, false);
        true
    }

    /// The session is over: nothing more comes.
    pub(super) fn fail_repairs(&mut self, now: Instant) {
        let jobs: Vec<Job> = self.repairs.by_request.drain().map(|(_, job)| job).collect();
        for job in jobs {
            self.end_job(now, job, false);
        }
    }

    /// What a publisher cannot fill, the next may.
    fn end_job(&self, now: Instant, job: Job, is_complete: bool) {
        job.track.end_repair(now, job.repair, is_complete);
        let Some(fill) = job.fill else { return };
        if !is_complete && self.pass_on(&fill) {
            return;
        }
        fill.end();
    }

    /// Asks the next publisher; false when there is none.
    pub(super) fn pass_on(&self, fill: &Arc<Fill>) -> bool {
        let Some(scope) = &self.scope else { return false };
        while let Some(source) = fill.next_source() {
            if scope.order(source, Order::Fill(Arc::clone(fill))) {
                return true;
            }
        }
        false
    }
}
