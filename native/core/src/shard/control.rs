//! What control asks: sessions and streams come and go, handshakes pass through.

use super::{Shard, mark_ready};
use crate::claim::Claimed;
use crate::command::{AddSession, CloseReason, Command, Media, RestartIce, SubscribeTrack};
use crate::event::{Event, SessionReport};
use crate::exchange::Exchange;
use crate::ids::{SessionId, StreamId, Ticket};
use crate::rtp;
use crate::session::{Association, Part, Session};
use crate::source::{Source, SourceConfig};
use crate::srtp::{KeyMaterial, Limits, Opener, Profile, Sealer};
use crate::stages::Stage;
use crate::stamp;
use crate::stats::Counter;
use crate::stream::{Publisher, Stream};
use crate::subscriber::{Beginning, Subscriber};
use crate::time::Time;

/// Replay state of a publisher: OBS repairs by plain retransmission, so its window is wide.
const PUBLISHER_LIMITS: Limits = Limits { max_ssrcs: 32, window: 2_048 };
/// Replay state of a viewer, which sends RTCP alone.
const VIEWER_LIMITS: Limits = Limits { max_ssrcs: 8, window: 128 };

impl Shard {
    pub(super) fn apply_command(&mut self, now: Time, command: Command) {
        match command {
            Command::AddStream { stream } => {
                self.newest_stream = self.newest_stream.max(stream);
                let pace = self.config.pace_bytes_per_second;
                self.streams.entry(stream).or_insert_with(|| Stream::new(stream, pace));
            }
            Command::RemoveStream { stream } => {
                self.streams.remove(&stream);
            }
            Command::AddSession(added) => self.add_session(now, *added),
            Command::RestartIce(restart) => self.restart_ice(*restart),
            Command::SendDtls { session, datagrams } => self.send_dtls(session, &datagrams),
            Command::InstallKeys { session, profile, local, remote } => {
                self.install_keys(now, session, profile, &local, &remote);
            }
            Command::KeepFarewell { session, close_notify } => {
                if let Some((_, association)) = self.association(session) {
                    association.farewell = Some(close_notify);
                }
            }
            Command::RemoveSession { session, reason } => {
                if let Some(slot) = self.by_id.get(&session).copied() {
                    self.close(slot, reason);
                }
            }
            Command::InjectRtp { session, packets, stamped } => {
                self.inject(now, session, packets, stamped);
            }
            Command::ReportSessions { ticket, sessions } => self.report(now, ticket, &sessions),
            Command::Stop => self.stop(),
        }
    }

    fn add_session(&mut self, now: Time, mut added: AddSession) {
        // A quicker shard has seen it come and go; or it is here already.
        if added.claim.is_closed() || self.by_id.contains_key(&added.session) {
            return;
        }
        let candidates = std::mem::take(&mut added.candidates);
        let trial = added.trial.take();
        if let Some(ice) = added.ice.clone().filter(|_| !candidates.is_empty()) {
            if self.is_home_of(&added) {
                let id = added.session;
                let slot = self.insert(id, Session::new(now, added));
                self.begin_client(
                    now,
                    slot,
                    &ice,
                    &candidates,
                    trial.map(|t| *t).unwrap_or_default(),
                );
            }
            return;
        }
        let session = Session::new(now, added);
        let (id, local) = (session.id, session.ice.is_none());
        let ufrags: Vec<Box<str>> =
            session.ice.iter().flat_map(|ice| ice.ufrags()).map(Box::from).collect();
        let slot = self.insert(id, session);
        self.by_ufrag.extend(ufrags.into_iter().map(|ufrag| (ufrag, slot)));
        if local && self.config.index.0 == 0 && self.claim(now, slot) == Some(Claimed::Taken) {
            self.begin_publisher(slot);
        }
    }

    fn insert(&mut self, id: SessionId, session: Session) -> usize {
        let slot = self.sessions.insert(session);
        self.by_id.insert(id, slot);
        self.stats.add(Counter::SessionsAdded, 1);
        slot
    }

    /// Two more names lead to the session for a while: RFC 8445 §9 lets the old ones hold until the
    /// peer has used the new ones.
    fn restart_ice(&mut self, RestartIce { session, ice, proven }: RestartIce) {
        let Some(slot) = self.by_id.get(&session).copied() else { return };
        let Some(session) = self.sessions.get_mut(slot) else { return };
        // Nothing on the shared port leads to a session in the client role.
        if session.association.as_ref().is_some_and(|association| association.checks.is_some()) {
            return;
        }
        let Some(credentials) = session.ice.as_mut() else { return };
        if let Some(retired) = credentials.restart(&ice, proven) {
            self.by_ufrag.remove(&retired);
        }
        self.by_ufrag.insert(ice.local_ufrag.into(), slot);
    }

    /// Claims a session for this shard; what it is for becomes its association.
    pub(super) fn claim(&mut self, now: Time, slot: usize) -> Option<Claimed> {
        self.claim_as(now, slot, self.source_config())
    }

    /// The same, for a publisher with a configuration of its own.
    pub(super) fn claim_as(
        &mut self,
        now: Time,
        slot: usize,
        config: SourceConfig,
    ) -> Option<Claimed> {
        let session = self.sessions.get_mut(slot)?;
        let claimed = session.claim.take(self.config.index);
        if claimed == Claimed::Taken {
            let media = session.media.take()?;
            let part = match &*media {
                Media::Publish { stream, tracks } => {
                    let source = Source::new(*stream, session.id, tracks.clone(), config);
                    Part::Publisher { stream: *stream, source: Box::new(source) }
                }
                Media::Subscribe { stream, .. } => {
                    let stream = *stream;
                    session.media = Some(media);
                    Part::Viewer { stream, slot: None }
                }
            };
            let association = Association::new(now, part, session.ice.is_none());
            let due = association.silent_at(self.config.silence);
            let association = session.association.insert(Box::new(association));
            self.wake.arm(&mut association.armed, session.id, due);
        }
        Some(claimed)
    }

    fn send_dtls(&mut self, session: SessionId, datagrams: &[Vec<u8>]) {
        let Some((_, association)) = self.association(session) else { return };
        let Some(path) = association.paths.dtls_or_current() else { return };
        for datagram in datagrams {
            self.egress.datagram(path, u32::MAX, datagram);
        }
    }

    fn install_keys(
        &mut self,
        now: Time,
        id: SessionId,
        profile: Profile,
        local: &KeyMaterial,
        remote: &KeyMaterial,
    ) {
        let Some(slot) = self.by_id.get(&id).copied() else { return };
        let session = self.sessions.get_mut(slot);
        let Some(association) = session.and_then(|s| s.association.as_deref_mut()) else { return };
        // A second sealer of the same keys would count from zero again.
        if association.profile.is_some() {
            return;
        }
        let sealer = Sealer::new(profile, local);
        association.profile = Some(profile);
        match &mut association.part {
            Part::Publisher { source, .. } => {
                if association.checks.is_some() {
                    // Nobody but us wants the stream to begin with a keyframe.
                    source.request_keyframe(now, &mut self.stats);
                }
                association.opener = Some(Box::new(Opener::new(profile, remote, PUBLISHER_LIMITS)));
                association.sealer = Some(Box::new(sealer));
                self.begin_publisher(slot);
            }
            Part::Viewer { stream, .. } => {
                let stream = *stream;
                association.opener = Some(Box::new(Opener::new(profile, remote, VIEWER_LIMITS)));
                self.subscribe(now, slot, stream, sealer);
            }
        }
        self.take_early(now, slot);
    }

    /// A viewer has keys: it joins the stream's subscribers on this shard.
    fn subscribe(&mut self, now: Time, slot: usize, stream_id: StreamId, sealer: Sealer) {
        let random = [self.random.draw(), self.random.draw()];
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let media = session.media.take();
        let Some(Media::Subscribe { tracks, cname, .. }) = media.as_deref() else { return };
        let association = session.association.as_deref();
        let path = association.and_then(|a| a.paths.current());
        if let Some(claimed) = association.map(|a| a.since) {
            self.stats.stages.observe(Stage::Ice, session.id, claimed.since(session.added));
            self.stats.stages.observe(Stage::Dtls, session.id, now.since(claimed));
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if let Some(publisher) = stream.publisher()
            && !takes(tracks, publisher)
        {
            self.close_and_tell(slot, CloseReason::NoCommonCodec);
            return;
        }
        let beginning = Beginning {
            session: session.id,
            added: session.added,
            owner: slot as u32,
            path,
            sealer,
            tracks,
            cname,
            random,
            repeats: self.config.repeats,
        };
        let position = stream.subscribers.insert(Subscriber::new(now, beginning));
        // One that it can start at needs no other; if it does not come to that, its duties ask.
        stream.keyframe_wanted |= stream.start(now).is_none();
        mark_ready(stream, &mut self.streams_ready);
        let first = stream.subscribers.len() == 1;
        if let Some(association) = session.association.as_deref_mut() {
            association.part = Part::Viewer { stream: stream_id, slot: Some(position) };
            let retry = now + self.config.keyframe_interval;
            self.wake.arm(&mut association.armed, session.id, retry);
        }
        if first {
            self.tell_interest(stream_id, true);
        }
    }

    pub(super) fn tell_interest(&mut self, stream: StreamId, interested: bool) {
        let shard = self.config.index;
        self.broadcast(&Exchange::Interest { stream, shard, interested });
    }

    fn inject(&mut self, now: Time, session: SessionId, packets: Vec<Vec<u8>>, stamped: bool) {
        let Some(slot) = self.by_id.get(&session).copied() else { return };
        for mut packet in packets {
            let Some(session) = self.sessions.get_mut(slot) else { return };
            let Some(association) = session.association.as_deref_mut() else { return };
            let Part::Publisher { source, .. } = &mut association.part else { return };
            source.set_frame_window(self.patience.window());
            let taken = rtp::View::parse(&packet).and_then(|view| {
                if stamped && let Some(payload) = packet.get_mut(view.header_len..) {
                    stamp::write(payload, self.config.machine_clock, now);
                }
                source.handle_rtp(now, &view, &packet, packet.len(), &mut self.stats)
            });
            if let Err(reason) = taken {
                self.stats.discard(reason);
            }
        }
        self.queue_source(slot);
    }

    fn report(&mut self, now: Time, ticket: Ticket, sessions: &[SessionId]) {
        let rows = sessions.iter().filter_map(|id| self.report_row(now, *id)).collect();
        self.tell(Event::Report { ticket, shard: self.config.index, rows });
    }

    fn report_row(&self, now: Time, id: SessionId) -> Option<SessionReport> {
        let session = self.sessions.get(*self.by_id.get(&id)?)?;
        let association = session.association.as_deref()?;
        let mut row = SessionReport {
            session: id,
            state: association.state(),
            shard: self.config.index,
            address: association.paths.current().map(|path| path.remote),
            srtp_profile: association.profile.map_or("", Profile::name),
            packets: 0,
            bytes: 0,
            nacks: 0,
            repaired: 0,
            drops: 0,
            loss: 0.0,
            rtt_ms: None,
            bitrate_bps: 0,
            keyframe_interval_ms: None,
            tracks: Vec::new(),
        };
        match &association.part {
            Part::Publisher { source, .. } => {
                let figures = source.figures(now);
                row.packets = figures.packets;
                row.bytes = figures.bytes;
                row.nacks = figures.nacks;
                row.repaired = figures.repaired;
                row.drops = figures.lost;
                row.loss = figures.loss;
                row.rtt_ms = figures.rtt_ms;
                row.bitrate_bps = figures.bitrate_bps;
                row.keyframe_interval_ms = figures.keyframe_interval_ms;
                row.tracks = source.track_reports(association.since);
            }
            Part::Viewer { stream, slot } => {
                let subscribers = self.streams.get(stream).map(|stream| &stream.subscribers);
                let subscriber = slot.and_then(|slot| subscribers?.get(slot));
                if let Some(subscriber) = subscriber {
                    let figures = subscriber.figures();
                    row.packets = figures.packets;
                    row.bytes = figures.bytes;
                    row.nacks = figures.nacks;
                    row.repaired = figures.repaired;
                    row.drops = figures.drops;
                    row.loss = subscriber.loss();
                    row.rtt_ms = subscriber.round_trip().map(|rtt| rtt.as_secs_f64() * 1e3);
                    row.bitrate_bps = subscriber.bitrate_bps(now);
                }
            }
        }
        Some(row)
    }

    fn stop(&mut self) {
        let slots: Vec<usize> = self.sessions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close(slot, CloseReason::Stopping);
        }
        self.stopped = true;
        self.tell(Event::Stopped { shard: self.config.index });
    }

    /// Closes a session that this shard found to be over, everywhere.
    pub(super) fn close_and_tell(&mut self, slot: usize, reason: CloseReason) {
        if let Some(session) = self.sessions.get(slot).map(|session| session.id) {
            self.broadcast(&Exchange::Forget { session });
            self.close(slot, reason);
        }
    }

    /// Ends a session here. Its owner says farewell and tells `Closed`; of a session that nobody
    /// owns, the first shard to get here does.
    pub(super) fn close(&mut self, slot: usize, reason: CloseReason) {
        let Some(mut session) = self.sessions.try_remove(slot) else { return };
        self.stats.add(Counter::SessionsRemoved, 1);
        self.by_id.remove(&session.id);
        for ufrag in session.ice.iter().flat_map(|ice| ice.ufrags()) {
            // In the client role nothing here has its name; another session may.
            if self.by_ufrag.get(ufrag) == Some(&slot) {
                self.by_ufrag.remove(ufrag);
            }
        }
        for path in session.stray_paths.drain(..) {
            self.by_path.remove(&path);
        }
        match session.association.take() {
            Some(association) => {
                self.forget_early(&association);
                session.claim.close();
                if let Some(checks) = &association.checks {
                    self.close_socket(slot, checks.is_open());
                }
                self.say_farewell(session.id, *association, reason);
                self.tell(Event::Closed { session: session.id, reason });
            }
            None if session.claim.close_unclaimed() => {
                self.tell(Event::Closed { session: session.id, reason });
            }
            None => {}
        }
    }

    fn say_farewell(&mut self, id: SessionId, association: Association, reason: CloseReason) {
        for path in association.paths.iter() {
            self.by_path.remove(&path);
        }
        // Not even a farewell goes to a peer that consents no more (RFC 7675 §5.1).
        let consents = reason != CloseReason::ConsentExpired;
        let path = association.paths.current().filter(|_| consents);
        match association.part {
            Part::Publisher { stream, source } => {
                self.broadcast(&Exchange::SourceDown { stream, publisher: id });
                self.lose_publisher(stream, id);
                if let (Some(path), Some(mut sealer)) = (path, association.sealer) {
                    let mut compound = Vec::new();
                    source.write_bye(&mut compound);
                    sealer.seal_rtcp(&mut compound);
                    self.egress.datagram(path, u32::MAX, &compound);
                }
            }
            Part::Viewer { stream: stream_id, slot: Some(slot) } => {
                if let Some(stream) = self.streams.get_mut(&stream_id) {
                    if let Some(mut subscriber) =
                        stream.remove_subscriber(slot).filter(|_| consents)
                    {
                        let mut compound = Vec::new();
                        subscriber.write_bye(&mut compound);
                        subscriber.send_rtcp(compound, &mut self.egress);
                    }
                    if stream.subscribers.is_empty() {
                        self.tell_interest(stream_id, false);
                    }
                }
            }
            Part::Viewer { slot: None, .. } => {}
        }
        if let (Some(path), Some(record)) = (path, association.farewell) {
            self.egress.datagram(path, u32::MAX, &record);
        }
    }

    pub(super) fn association(&mut self, id: SessionId) -> Option<(usize, &mut Association)> {
        let slot = *self.by_id.get(&id)?;
        Some((slot, self.association_at(slot)?))
    }

    /// What this shard knows of the session in this slot, if it owns it.
    pub(super) fn association_at(&mut self, slot: usize) -> Option<&mut Association> {
        self.sessions.get_mut(slot)?.association.as_deref_mut()
    }

    /// A source may have something to send at the next drain.
    pub(super) fn queue_source(&mut self, slot: usize) {
        let association = self.sessions.get_mut(slot).and_then(|s| s.association.as_deref_mut());
        if let Some(association) = association
            && !std::mem::replace(&mut association.queued, true)
        {
            self.sources_ready.push(slot);
        }
    }
}

/// True if a viewer's tracks can carry what the publisher sends.
fn takes(tracks: &[SubscribeTrack], publisher: &Publisher) -> bool {
    publisher.codecs.iter().all(|(kind, codec)| {
        let track = tracks.iter().find(|track: &&SubscribeTrack| track.kind == *kind);
        track.is_none_or(|track| track.formats.iter().any(|format| format.codec == *codec))
    })
}
