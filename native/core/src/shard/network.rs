//! What the network brings: checks, DTLS records, media and reports. Untrusted until checked.

use std::time::Duration;

use super::{PathUse, Shard, mark_ready};
use crate::claim::Claimed;
use crate::discard::Discard;
use crate::event::Event;
use crate::exchange::Exchange;
use crate::figures::Mark;
use crate::ids::{SessionId, StreamId};
use crate::media::Kind;
use crate::path::{Datagram, Path};
use crate::record::Record;
use crate::rtcp::{self, Item};
use crate::rtp;
use crate::session::{Credentials, Part};
use crate::source::ClockUpdate;
use crate::stats::Counter;
use crate::stun::{self, BindingRequest, ErrorCode};
use crate::time::Time;

/// A path whose owner was heard within this time is not given to another session.
const PATH_HOLD: Duration = Duration::from_secs(5);

/// Most bytes of a DTLS datagram that control hears of: peers keep their flights under the MTU, and
/// each one is held until control takes it.
const MAX_DTLS_BYTES: usize = 2_048;

/// What a datagram is, by its first byte (RFC 7983 §7, RFC 9443).
pub(super) enum Protocol {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
}

pub(super) fn demultiplex(datagram: &[u8]) -> Result<Protocol, Discard> {
    match (datagram.first(), datagram.get(1)) {
        (Some(0..=3), _) => Ok(Protocol::Stun),
        (Some(20..=63), _) => Ok(Protocol::Dtls),
        // RFC 5761 §4: RTCP packet types as payload types 64 to 95.
        (Some(128..=191), Some(second)) if (64..96).contains(&(second & 0x7F)) => {
            Ok(Protocol::Rtcp)
        }
        (Some(128..=191), Some(_)) => Ok(Protocol::Rtp),
        (Some(128..=191), None) => Err(Discard::RtpShort),
        _ => Err(Discard::UnknownProtocol),
    }
}

impl Shard {
    /// Finds the session that a datagram is for, here or on another shard.
    pub(super) fn route(&mut self, now: Time, datagram: Datagram<'_>) -> Result<(), Discard> {
        let Datagram { path, received, ref bytes } = datagram;
        if let Some(slot) = path.socket.slot() {
            return self.route_own(now, slot, datagram);
        }
        let slot = match demultiplex(bytes)? {
            Protocol::Stun => {
                let request = stun::parse(bytes)?;
                let slot = self.by_ufrag.get(request.local_ufrag).copied();
                let slot = slot.ok_or(Discard::StunUnknownUfrag)?;
                self.authenticate(now, slot, &request)?;
                if self.sessions.get(slot).is_some_and(|session| session.association.is_some()) {
                    return self.answer_check(now, slot, path, &request);
                }
                slot
            }
            Protocol::Dtls => self.by_path.get(&path).ok_or(Discard::DtlsUnknownAddress)?.slot,
            Protocol::Rtp | Protocol::Rtcp => {
                self.by_path.get(&path).ok_or(Discard::UnknownSession)?.slot
            }
        };
        let session = self.sessions.get(slot).ok_or(Discard::UnknownSession)?;
        if session.association.is_some() {
            return self.take_own(now, slot, datagram);
        }
        // Only an authenticated check gets here for a session without owner.
        match self.claim(now, slot) {
            Some(Claimed::Taken | Claimed::Ours) => {
                self.take_own(now, slot, datagram)?;
                let Some(session) = self.sessions.get(slot).map(|session| session.id) else {
                    return Ok(());
                };
                let shard = self.config.index;
                self.tell(Event::Claimed { session, shard, address: path.remote });
                Ok(())
            }
            Some(Claimed::Other(owner)) => {
                let is_check = matches!(demultiplex(bytes)?, Protocol::Stun);
                if is_check {
                    self.remember_stray(now, slot, path)?;
                }
                let session = self.sessions.get(slot).ok_or(Discard::UnknownSession)?.id;
                let datagram = Box::from(&**bytes);
                let stray = Exchange::Stray { session, path, datagram, arrival: received };
                self.exchanges.push_back((owner, stray));
                Ok(())
            }
            Some(Claimed::Closed) | None => Err(Discard::UnknownSession),
        }
    }

    /// Takes a datagram of a session that this shard owns.
    pub(super) fn take_own(
        &mut self,
        now: Time,
        slot: usize,
        datagram: Datagram<'_>,
    ) -> Result<(), Discard> {
        let Datagram { path, received, bytes } = datagram;
        match demultiplex(bytes)? {
            Protocol::Stun => self.take_check(now, slot, path, bytes),
            Protocol::Dtls => self.take_dtls(slot, path, bytes),
            Protocol::Rtp => self.take_rtp(now, slot, received, bytes),
            Protocol::Rtcp => self.take_rtcp(now, slot, received, bytes),
        }
    }

    fn take_check(
        &mut self,
        now: Time,
        slot: usize,
        path: Path,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        let request = stun::parse(datagram)?;
        self.authenticate(now, slot, &request)?;
        self.answer_check(now, slot, path, &request)
    }

    /// Answers a binding request that is authentic (RFC 8445 §7.3).
    fn answer_check(
        &mut self,
        now: Time,
        slot: usize,
        path: Path,
        request: &BindingRequest<'_>,
    ) -> Result<(), Discard> {
        let ice = self.sessions.get(slot).and_then(|session| session.ice.as_ref());
        let key = ice.and_then(|ice| ice.key_of(request.local_ufrag));
        let key = key.ok_or(Discard::StunUnknownUfrag)?;
        let mut answer = Vec::with_capacity(128);
        let transaction = request.transaction;
        if !request.unknown.is_empty() {
            stun::error(
                transaction,
                ErrorCode::UnknownAttribute,
                &request.unknown,
                Some(key),
                &mut answer,
            );
        } else if request.controlled.is_some() {
            // We are lite and so always controlled; a peer that claims it too must change.
            stun::error(transaction, ErrorCode::RoleConflict, &[], Some(key), &mut answer);
        } else {
            stun::success(transaction, path.remote, key, &mut answer);
            self.admit_path(now, slot, path, request.priority, request.use_candidate)?;
        }
        self.stats.add(Counter::ChecksAnswered, 1);
        self.egress.datagram(path, u32::MAX, &answer);
        Ok(())
    }

    /// Judges a check by the credentials that lead to the session. The first one with those of a
    /// restart retires the others.
    fn authenticate(
        &mut self,
        now: Time,
        slot: usize,
        request: &BindingRequest<'_>,
    ) -> Result<(), Discard> {
        // Before: another shard may have seen the restart's first check.
        self.settle_restart(now, slot);
        let session = self.sessions.get(slot).ok_or(Discard::UnknownSession)?;
        session.ice.as_ref().ok_or(Discard::StunUnknownUfrag)?.verify(request)?;
        self.settle_restart(now, slot);
        Ok(())
    }

    fn settle_restart(&mut self, now: Time, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(retired) = session.ice.as_mut().and_then(Credentials::settle) else { return };
        self.by_ufrag.remove(&retired);
        if let Some(association) = session.association.as_deref_mut() {
            association.paths.restart(now);
        }
    }

    /// An authenticated check came by this path: the session may be reached there.
    pub(super) fn admit_path(
        &mut self,
        now: Time,
        slot: usize,
        path: Path,
        priority: Option<u32>,
        use_candidate: bool,
    ) -> Result<(), Discard> {
        self.take_path(now, slot, path)?;
        let session = self.sessions.get_mut(slot).ok_or(Discard::UnknownSession)?;
        let association = session.association.as_deref_mut().ok_or(Discard::UnknownSession)?;
        association.heard(now);
        let changed = association.paths.handle_check(now, path, priority, use_candidate);
        self.follow_path(slot);
        if let Some(dropped) = changed.dropped {
            self.by_path.remove(&dropped);
        }
        Ok(())
    }

    /// Gives the path to this session unless another one that is alive holds it. A publisher that
    /// comes back from the port that it had before takes it from itself.
    fn take_path(&mut self, now: Time, slot: usize, path: Path) -> Result<(), Discard> {
        let held = self.by_path.get(&path).copied().filter(|held| held.slot != slot);
        if let Some(held) = held {
            let returns = self.publishes(slot).is_some_and(|(stream, session)| {
                self.publishes(held.slot).is_some_and(|held| held.0 == stream && held.1 < session)
            });
            let owner = self.sessions.get_mut(held.slot);
            let heard = owner.as_ref().and_then(|s| s.association.as_ref()).map(|a| a.last_heard);
            if !returns && now.since(heard.unwrap_or(held.last_check)) < PATH_HOLD {
                return Err(Discard::PathTaken);
            }
            if let Some(owner) = owner {
                owner.stray_paths.retain(|stray| *stray != path);
                if let Some(association) = owner.association.as_deref_mut() {
                    association.paths.forget(path);
                }
            }
            self.follow_path(held.slot);
        }
        self.by_path.insert(path, PathUse { slot, last_check: now });
        Ok(())
    }

    fn publishes(&self, slot: usize) -> Option<(StreamId, SessionId)> {
        let session = self.sessions.get(slot)?;
        Some((session.publishes()?, session.id))
    }

    /// A check for a session of another shard: what follows on this path goes there.
    fn remember_stray(&mut self, now: Time, slot: usize, path: Path) -> Result<(), Discard> {
        const MAX_STRAY_PATHS: usize = 8;
        self.take_path(now, slot, path)?;
        let session = self.sessions.get_mut(slot).ok_or(Discard::UnknownSession)?;
        if !session.stray_paths.contains(&path) {
            if session.stray_paths.len() == MAX_STRAY_PATHS {
                let oldest = session.stray_paths.remove(0);
                self.by_path.remove(&oldest);
            }
            session.stray_paths.push(path);
        }
        Ok(())
    }

    /// A viewer's media goes where its session's current path leads.
    fn follow_path(&mut self, slot: usize) {
        let Some(association) = self.sessions.get(slot).and_then(|s| s.association.as_deref())
        else {
            return;
        };
        let Part::Viewer { stream, slot: Some(position) } = association.part else { return };
        let stream = self.streams.get_mut(&stream);
        if let Some(subscriber) = stream.and_then(|s| s.subscribers.get_mut(position)) {
            subscriber.set_path(association.paths.current());
        }
    }

    fn take_dtls(&mut self, slot: usize, path: Path, datagram: &[u8]) -> Result<(), Discard> {
        let session = self.sessions.get_mut(slot).ok_or(Discard::DtlsUnknownAddress)?;
        let association = session.association.as_deref_mut().ok_or(Discard::DtlsUnknownAddress)?;
        if datagram.len() > MAX_DTLS_BYTES || !association.admit_dtls() {
            return Err(Discard::DtlsLimit);
        }
        association.paths.handle_dtls(path);
        let session = session.id;
        self.tell(Event::DtlsReceived { session, datagram: datagram.to_vec() });
        self.follow_path(slot);
        Ok(())
    }

    pub(super) fn take_rtp(
        &mut self,
        now: Time,
        slot: usize,
        received: Time,
        datagram: &mut [u8],
    ) -> Result<(), Discard> {
        let view = rtp::View::parse(datagram)?;
        let session = self.sessions.get_mut(slot).ok_or(Discard::UnknownSession)?;
        let association = session.association.as_deref_mut().ok_or(Discard::UnknownSession)?;
        let Some(opener) = association.opener.as_mut() else {
            return self.keep_early(slot, received, datagram);
        };
        let wire_len = datagram.len();
        let opened = opener.open_rtp(datagram, view.header_len, view.ssrc, view.sequence)?;
        let taken = match &mut association.part {
            Part::Publisher { source, .. } => {
                let packet = datagram.get(..opened.len).unwrap_or(&[]);
                source.set_frame_window(self.patience.window());
                if source.forwards() {
                    self.shedding.observe(now.since(received));
                }
                let taken = source.handle_rtp(now, &view, packet, wire_len, &mut self.stats);
                if let Some(record) = source.take_record() {
                    let record = Record { arrival: received, ..record };
                    self.recorder.push(now, self.config.machine_clock, &record);
                }
                taken
            }
            Part::Viewer { .. } => Err(Discard::RtpUnknownSsrc),
        };
        self.heard_srtp(now, slot);
        self.queue_source(slot);
        taken
    }

    pub(super) fn take_rtcp(
        &mut self,
        now: Time,
        slot: usize,
        received: Time,
        datagram: &mut [u8],
    ) -> Result<(), Discard> {
        let session = self.sessions.get_mut(slot).ok_or(Discard::UnknownSession)?;
        let association = session.association.as_deref_mut().ok_or(Discard::UnknownSession)?;
        let Some(opener) = association.opener.as_mut() else {
            return self.keep_early(slot, received, datagram);
        };
        let len = opener.open_rtcp(datagram)?;
        self.heard_srtp(now, slot);
        let items = rtcp::parse(datagram.get(..len).unwrap_or(&[]))?;
        for item in items {
            if matches!(item, Item::Bye { .. }) {
                self.hear_bye(now, slot);
            }
            self.take_item(now, slot, &item);
        }
        Ok(())
    }

    fn heard_srtp(&mut self, now: Time, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(association) = session.association.as_deref_mut() else { return };
        association.heard(now);
        if !std::mem::replace(&mut association.secured, true) {
            let session = session.id;
            self.tell(Event::Secured { session });
        }
    }

    fn hear_bye(&mut self, now: Time, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(association) = session.association.as_deref_mut() else { return };
        association.bye_at = Some(now);
        let due = association.silent_at(self.config.silence);
        self.wake.arm(&mut association.armed, session.id, due);
    }

    fn take_item(&mut self, now: Time, slot: usize, item: &Item<'_>) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let id = session.id;
        let Some(association) = session.association.as_deref_mut() else { return };
        match &mut association.part {
            Part::Publisher { stream, source } => {
                let update = source.handle_rtcp(now, item, &mut self.stats);
                let stream = *stream;
                if let Some(update) = update {
                    self.take_clock(stream, id, update);
                }
                self.queue_source(slot);
            }
            Part::Viewer { stream, slot: Some(position) } => {
                let (stream, position) = (*stream, *position);
                self.take_viewer_item(now, stream, position, item);
            }
            Part::Viewer { slot: None, .. } => {}
        }
    }

    fn take_clock(&mut self, stream: StreamId, publisher: SessionId, update: ClockUpdate) {
        let ClockUpdate { kind, clock_rate, ntp, rtp_timestamp } = update;
        self.broadcast(&Exchange::Clock {
            stream,
            publisher,
            kind,
            clock_rate,
            ntp,
            rtp_timestamp,
        });
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.set_clock(publisher, kind, clock_rate, ntp, rtp_timestamp);
        }
    }

    fn take_viewer_item(&mut self, now: Time, stream: StreamId, position: usize, item: &Item<'_>) {
        let Some(stream) = self.streams.get_mut(&stream) else { return };
        let wall_clock = self.config.wall_clock;
        match item {
            Item::Report { block, .. } => {
                if let Some(subscriber) = stream.subscribers.get_mut(position) {
                    let told = subscriber.handle_report(now, wall_clock, block, &mut self.stats);
                    stream.sums.add_report(told);
                }
            }
            Item::Nack { media, sequences } => {
                let before = Mark::of(&self.stats);
                for kind in Kind::ALL {
                    let Some((subscriber, cache)) = stream.subscriber(position, kind) else {
                        return;
                    };
                    if subscriber.has(*media, kind) {
                        subscriber.handle_nack(
                            now,
                            *media,
                            sequences.clone(),
                            cache,
                            &mut self.repair_budget,
                            &mut self.egress,
                            &mut self.stats,
                        );
                    }
                }
                stream.sums.add_since(before, &self.stats);
            }
            Item::Pli { .. } | Item::Fir { .. } => {
                let pli = matches!(item, Item::Pli { .. });
                self.stats.add(if pli { Counter::PlisIn } else { Counter::FirsIn }, 1);
                self.stats.add(Counter::KeyframeRequestsIn, 1);
                let merged = !stream.want_keyframe(position);
                self.stats.add(Counter::KeyframeRequestsMerged, merged.into());
                mark_ready(stream, &mut self.streams_ready);
            }
            Item::ReceiverReferenceTime { ssrc, ntp } => {
                if let Some(subscriber) = stream.subscribers.get_mut(position) {
                    subscriber.handle_reference_time(now, *ssrc, *ntp);
                }
            }
            _ => {}
        }
    }
}
