//! What is due: silence, sender reports, what sources wait for.

use std::time::Duration;

use super::{Shard, mark_ready};
use crate::command::CloseReason;
use crate::event::Event;
use crate::ids::SessionId;
use crate::session::Part;
use crate::time::Time;
use crate::wake::Wake;

/// Sender reports go out every two to five seconds, so that viewers who came together do not
/// report together.
const REPORT_EVERY: Duration = Duration::from_secs(2);
const REPORT_SPREAD_MICROS: u64 = 3_000_000;

/// More than the reports of two tracks with their name take (RFC 3550 §6.4.1, §6.5), sealed.
const REPORT_BYTES: usize = 256;

/// Those that are due within so long go out together: one wake-up and one system call for them,
/// where a thousand viewers would each take their own.
const REPORTS_TOGETHER: Duration = Duration::from_millis(20);

impl Shard {
    /// Does what this session armed its deadline for, and arms the next.
    pub(super) fn do_duties(&mut self, now: Time, at: Time, id: SessionId) {
        let silence = self.config.silence;
        let Some((slot, association)) = self.association(id) else { return };
        if !Wake::confirm(&mut association.armed, at) {
            return;
        }
        let silent_at = association.silent_at(silence);
        if silent_at <= now {
            let unconnected = association.checks.as_ref().is_some_and(|c| !c.is_connected());
            let reason = match (association.bye_at, unconnected) {
                (Some(_), _) => CloseReason::Bye,
                (None, true) => CloseReason::NeverConnected,
                (None, false) => CloseReason::Silent,
            };
            self.close_and_tell(slot, reason);
            return;
        }
        if association.checks.as_ref().is_some_and(|checks| checks.has_expired(now)) {
            self.close_and_tell(slot, CloseReason::ConsentExpired);
            return;
        }
        let checks = self.client_duties(now, slot);
        let Some((_, association)) = self.association(id) else { return };
        let next = match &association.part {
            Part::Publisher { .. } => self.source_duties(now, slot),
            Part::Viewer { .. } => self.viewer_duties(now, slot),
        };
        // Never at once: this loop ends when nothing is due.
        self.arm(id, next.min(checks).min(silent_at).max(now + Duration::from_micros(1)));
    }

    /// Wakes the session at `at` or earlier.
    pub(super) fn arm(&mut self, id: SessionId, at: Time) {
        let Some(slot) = self.by_id.get(&id) else { return };
        let session = self.sessions.get_mut(*slot);
        if let Some(association) = session.and_then(|s| s.association.as_deref_mut()) {
            self.wake.arm(&mut association.armed, id, at);
        }
    }

    /// The first packet went to a viewer: control hears of it, and its first sender report goes
    /// out at once, so that lips are in sync from the start.
    pub(super) fn begin_reports(&mut self, now: Time, id: SessionId) {
        let Some((_, association)) = self.association(id) else { return };
        association.flowing = true;
        association.next_report = now;
        self.arm(id, now);
        self.tell(Event::Flowing { session: id });
    }

    fn source_duties(&mut self, now: Time, slot: usize) -> Time {
        let association = self.sessions.get_mut(slot).and_then(|s| s.association.as_deref_mut());
        let Some(Part::Publisher { source, .. }) = association.map(|a| &mut a.part) else {
            return Time::NEVER;
        };
        source.handle_timeout(now, &mut self.stats);
        let next = source.poll_timeout();
        self.queue_source(slot);
        next
    }

    fn viewer_duties(&mut self, now: Time, slot: usize) -> Time {
        let spread = Duration::from_micros(self.random.draw() % REPORT_SPREAD_MICROS);
        let session = self.sessions.get_mut(slot);
        let Some(association) = session.and_then(|s| s.association.as_deref_mut()) else {
            return Time::NEVER;
        };
        let Part::Viewer { stream, slot: Some(position) } = association.part else {
            return Time::NEVER;
        };
        let Some(stream) = self.streams.get_mut(&stream) else { return Time::NEVER };
        let (clocks, has_video) = (stream.clocks(), stream.has_video());
        let Some(subscriber) = stream.subscribers.get_mut(position) else { return Time::NEVER };
        if association.next_report <= now {
            let mut compound = Vec::with_capacity(REPORT_BYTES);
            subscriber.write_reports(now, self.config.wall_clock, clocks, &mut compound);
            subscriber.send_rtcp(compound, &mut self.egress);
            association.next_report = (now + REPORT_EVERY + spread).rounded_up(REPORTS_TOGETHER);
        }
        let next = association.next_report;
        if subscriber.waits_for_keyframe() && has_video {
            stream.want_keyframe(position);
            mark_ready(stream, &mut self.streams_ready);
            return next.min(now + self.config.keyframe_interval);
        }
        next
    }
}
