//! Sessions in the client role: we check, nominate and begin the handshake, each from a socket of its
//! own. Everything behind the checks is as in the server role.

use super::Shard;
use crate::claim::Claimed;
use crate::command::{AddSession, CloseReason, IceCredentials, Media, RemoteCandidate, Trial};
use crate::discard::Discard;
use crate::event::Event;
use crate::link::Links;
use crate::path::{Datagram, Path, SocketId, SocketRequest};
use crate::session::{Answer, Checks, PeersCheck};
use crate::source::SourceConfig;
use crate::stats::Counter;
use crate::stun::{self, ErrorCode};
use crate::time::Time;

/// The kernel gave no socket: descriptors or ports have run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSocket;

impl Shard {
    /// The next thing that is wanted of whoever has the sockets, in order. A socket is closed only
    /// after everything that was to leave by it was handed over.
    pub fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.sockets.pop_front()
    }

    /// Takes what came of [`SocketRequest::Open`]: the local port.
    pub fn handle_socket(&mut self, now: Time, socket: SocketId, opened: Result<u16, NoSocket>) {
        let Some(slot) = socket.slot() else { return };
        let Some(id) = self.sessions.get(slot).map(|session| session.id) else { return };
        match (opened, self.checks(slot)) {
            (Ok(port), Some(checks)) => {
                checks.open(now);
                self.tell(Event::Opened { session: id, port });
                self.arm(id, now);
            }
            (Err(NoSocket), Some(_)) => self.close(slot, CloseReason::NoSocket),
            (_, None) => {}
        }
    }

    /// Nobody needs a session's socket any more. One that was not opened yet is not opened either:
    /// what came of it would be told to the session that has the slot by then.
    pub(super) fn close_socket(&mut self, slot: usize, opened: bool) {
        let socket = SocketId::of_slot(slot);
        if !opened {
            self.sockets.retain(|request| match *request {
                SocketRequest::Open { socket: wanted, .. } => wanted != socket,
                SocketRequest::Close(_) => true,
            });
        }
        self.sockets.push_back(SocketRequest::Close(socket));
        self.links.remove(socket);
    }

    /// True if a session in the client role lives here. Nobody has to find it, because what comes for
    /// it comes by its own socket. Whoever publishes is where local publishers are, so that its first
    /// packets need not wait until another shard has heard of it.
    pub(super) fn is_home_of(&self, added: &AddSession) -> bool {
        let home = match *added.media {
            Media::Subscribe { .. } => 0,
            Media::Publish { .. } => added.session.0 % u64::from(self.config.shards.max(1)),
        };
        home == u64::from(self.config.index.0)
    }

    /// Begins a session in the client role.
    pub(super) fn begin_client(
        &mut self,
        now: Time,
        slot: usize,
        ice: &IceCredentials,
        candidates: &[RemoteCandidate],
        trial: Trial,
    ) {
        let Trial { record_as, report_interval, links } = trial;
        let source = SourceConfig { record_as, report_interval, ..self.source_config() };
        if self.claim_as(now, slot, source) != Some(Claimed::Taken) {
            return;
        }
        if links != Links::default() {
            self.links.add(SocketId::of_slot(slot), &links);
        }
        let tie_breaker = self.random.draw();
        let Some(association) = self.association_at(slot) else { return };
        association.checks = Some(Box::new(Checks::new(ice, candidates, tie_breaker)));
        let (socket, timed) = (SocketId::of_slot(slot), record_as.is_some());
        self.sockets.push_back(SocketRequest::Open { socket, timed });
    }

    /// Takes a datagram that came by a session's own socket.
    pub(super) fn route_own(
        &mut self,
        now: Time,
        slot: usize,
        datagram: Datagram<'_>,
    ) -> Result<(), Discard> {
        let Datagram { path, ref bytes, .. } = datagram;
        // What was on its way when the session ended.
        self.checks(slot).ok_or(Discard::UnknownSession)?;
        if stun::is_response(bytes) {
            return self.take_answer(now, slot, path, bytes);
        }
        if stun::is_stun(bytes) {
            return self.take_peers_check(now, slot, path, bytes);
        }
        // Whoever knows the port may send to it; only who was checked, or checked us, is heard.
        if self.by_path.get(&path).is_none_or(|held| held.slot != slot) {
            let is_dtls = matches!(bytes.first(), Some(20..=63));
            let stranger =
                if is_dtls { Discard::DtlsUnknownAddress } else { Discard::UnknownSession };
            return Err(stranger);
        }
        self.take_own(now, slot, datagram)
    }

    /// Sends the checks that are due; when there will be something to do again.
    pub(super) fn client_duties(&mut self, now: Time, slot: usize) -> Time {
        let socket = SocketId::of_slot(slot);
        let mut check = Vec::with_capacity(128);
        while let Some(remote) = self.checks(slot).and_then(|checks| checks.poll(now, &mut check)) {
            self.stats.add(Counter::ChecksSent, 1);
            self.egress.datagram(Path::own(socket, remote), u32::MAX, &check);
            check.clear();
        }
        self.checks(slot).map_or(Time::NEVER, |checks| checks.due())
    }

    fn take_answer(
        &mut self,
        now: Time,
        slot: usize,
        path: Path,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        let response = stun::parse_response(datagram)?;
        let checks = self.checks(slot).ok_or(Discard::UnknownSession)?;
        match checks.handle_response(now, path.remote, &response)? {
            Answer::Valid { priority, nominated } => {
                self.admit_path(now, slot, path, Some(priority), nominated)?;
                self.connect(slot, path);
            }
            Answer::Consent => self.hear(now, slot),
            Answer::Nothing => {}
        }
        self.arm_checks(slot);
        Ok(())
    }

    /// A peer that is a full agent checks as well (RFC 8445 §7.3).
    fn take_peers_check(
        &mut self,
        now: Time,
        slot: usize,
        path: Path,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        let request = stun::parse(datagram)?;
        let session = self.sessions.get_mut(slot).ok_or(Discard::UnknownSession)?;
        let ice = session.ice.as_ref().ok_or(Discard::StunUnknownUfrag)?;
        ice.verify(&request)?;
        let key = ice.key_of(request.local_ufrag).ok_or(Discard::StunUnknownUfrag)?;
        let checks = session.association.as_deref_mut().and_then(|a| a.checks.as_deref_mut());
        let checks = checks.ok_or(Discard::UnknownSession)?;
        let mut answer = Vec::with_capacity(128);
        let checked = if request.unknown.is_empty() {
            checks.handle_request(now, path.remote, &request).ok()
        } else {
            None
        };
        match checked {
            Some(_) => stun::success(request.transaction, path.remote, key, &mut answer),
            None => {
                let code = match request.unknown.is_empty() {
                    true => ErrorCode::RoleConflict,
                    false => ErrorCode::UnknownAttribute,
                };
                stun::error(request.transaction, code, &request.unknown, Some(key), &mut answer);
            }
        }
        // Before anything of ours: a peer that is the DTLS client waits for this.
        self.stats.add(Counter::ChecksAnswered, 1);
        self.egress.datagram(path, u32::MAX, &answer);
        // One that nothing of ours ever reaches is not kept alive by its own checks.
        if let Some(PeersCheck::Proven { nominated }) = checked {
            self.admit_path(now, slot, path, request.priority, nominated)?;
        }
        self.arm_checks(slot);
        Ok(())
    }

    /// The first answer: DTLS may begin.
    fn connect(&mut self, slot: usize, path: Path) {
        let first = self.checks(slot).is_some_and(Checks::connect);
        if first && let Some(session) = self.sessions.get(slot).map(|session| session.id) {
            let shard = self.config.index;
            self.tell(Event::Claimed { session, shard, address: path.remote });
        }
    }

    fn hear(&mut self, now: Time, slot: usize) {
        if let Some(association) = self.association_at(slot) {
            association.heard(now);
        }
    }

    fn arm_checks(&mut self, slot: usize) {
        let Some(id) = self.sessions.get(slot).map(|session| session.id) else { return };
        let due = self.checks(slot).map_or(Time::NEVER, |checks| checks.due());
        self.arm(id, due);
    }

    fn checks(&mut self, slot: usize) -> Option<&mut Checks> {
        self.association_at(slot)?.checks.as_deref_mut()
    }
}
