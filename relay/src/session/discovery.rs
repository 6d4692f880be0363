//! The peer as one who tells of namespaces, and one who wants to hear of them.

use roundtable_moqt::{
    Parameters,
    message::{NamespaceRequest, RequestId, RequestOk},
};
use roundtable_transport::Io;

use super::Peer;
use crate::{refusal::Refusal, scope::Scope};

impl Peer {
    /// PUBLISH_NAMESPACE.
    pub(super) fn namespace_published(
        &mut self,
        io: &mut Io<'_>,
        scope: &Scope,
        id: RequestId,
        request: NamespaceRequest,
    ) -> Result<(), Refusal> {
        scope.with(io.now, |room| room.publish_namespace(self.handle.id, id, request.namespace))?;
        accept(io, id);
        Ok(())
    }

    /// SUBSCRIBE_NAMESPACE. The NAMESPACEs are orders to this task, and so follow the answer.
    pub(super) fn namespaces_wanted(
        &mut self,
        io: &mut Io<'_>,
        scope: &Scope,
        id: RequestId,
        request: NamespaceRequest,
    ) -> Result<(), Refusal> {
        scope.with(io.now, |room| room.subscribe_namespace(self.handle.id, id, request.namespace))?;
        accept(io, id);
        Ok(())
    }

    /// SUBSCRIBE_TRACKS. So do the PUBLISHes.
    pub(super) fn tracks_wanted(
        &mut self,
        io: &mut Io<'_>,
        scope: &Scope,
        id: RequestId,
        request: NamespaceRequest,
    ) -> Result<(), Refusal> {
        let forward = request.parameters.forward.unwrap_or(true);
        scope.with(io.now, |room| {
            room.subscribe_tracks(io.now, self.handle.id, id, request.namespace, forward)
        })?;
        accept(io, id);
        Ok(())
    }

    /// REQUEST_UPDATE of one of these, or of something that has nothing to change.
    pub(super) fn interest_updated(
        &mut self,
        io: &Io<'_>,
        request: RequestId,
        update: Parameters,
    ) -> Result<(), Refusal> {
        if let Some(prefix) = &update.namespace_prefix {
            self.handle.rights().may_look(prefix)?;
        }
        let scope = self.scope.as_ref().ok_or(Refusal::internal())?;
        scope.with(io.now, |room| {
            room.update_interest(io.now, self.handle.id, request, update.namespace_prefix, update.forward)
        })
    }
}

fn accept(io: &mut Io<'_>, id: RequestId) {
    // Fails only when the request is gone.
    let _ = io.session.accept(id, RequestOk::default());
}
