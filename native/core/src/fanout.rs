//! The fan-out: viewer outside, packet inside.
//!
//! The kernel's path costs nine tenths of a packet, so one viewer's packets are kept together and
//! leave as trains; keys and templates of a viewer are touched once a round.

use std::cell::LazyCell;

use crate::egress::{Egress, Transmit};
use crate::ids::SessionId;
use crate::media::Kind;
use crate::stats::{Counter, Stats};
use crate::stream::Round;
use crate::time::Time;
use crate::track::{Batch, Track};

/// Sessions that the shard has to see to afterwards.
#[derive(Debug, Default)]
pub struct Afterwards {
    /// They got their first packet.
    pub flowing: Vec<SessionId>,
}

/// Sends a stream's batches to all of its subscribers on this shard, and what has come since the
/// last keyframe to those that wait for one and may start there.
pub fn fan_out(
    now: Time,
    round: Round<'_>,
    egress: &mut Egress,
    transmit: &mut impl Transmit,
    stats: &mut Stats,
    afterwards: &mut Afterwards,
) {
    let Round { batches, video, held, shed, has_video, subscribers, waiting, turn } = round;
    *waiting = 0;
    let start = LazyCell::new(|| video.start(now, held));
    let cuts: Vec<Option<Cut>> = match shed.is_empty() {
        true => Vec::new(),
        false => batches.iter().map(|batch| cut(batch, video, has_video)).collect(),
    };
    let slots = subscribers.capacity().max(1);
    let first = turn.wrapping_mul(ROTATION) % slots;
    for slot in (first..slots).chain(0..first) {
        let Some(subscriber) = subscribers.get_mut(slot) else { continue };
        subscriber.learn_route(transmit);
        let mut first_packet = false;
        let is_left_out = shed.covers(slot);
        for (position, batch) in batches.iter().enumerate() {
            let cut = cuts.get(position).copied().flatten().filter(|_| is_left_out);
            let left_out = cut.map_or(0, |cut| subscriber.leave_out(batch, cut == Cut::Here));
            if left_out > 0 {
                stats.add(Counter::SendDropsShed, left_out as u64);
                continue;
            }
            if egress.is_full(batch.room) {
                egress.flush(transmit, stats);
            }
            first_packet |= subscriber.forward(now, batch, egress, stats);
        }
        // Behind the batches: what of them went before the start was not for it, and everything
        // from the start on is in the cache, so that nothing is sent to it twice.
        if subscriber.waits_for_keyframe() {
            if let Some(start) = if is_left_out { None } else { *start } {
                if egress.is_full(start.room) {
                    egress.flush(transmit, stats);
                }
                first_packet |= subscriber.start(now, start, video.cache(), egress, stats);
            }
            *waiting += usize::from(subscriber.waits_for_keyframe());
        }
        if first_packet {
            afterwards.flowing.push(subscriber.session);
        }
    }
}

/// Where a viewer that is left out gets no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    /// From this batch on.
    Here,
    /// Somewhere before it, or not yet: it is not the beginning of a frame.
    Elsewhere,
}

/// What a batch is to those who are left out; None if it goes to them all the same.
fn cut(batch: &Batch, video: &Track, has_video: bool) -> Option<Cut> {
    match batch.kind {
        Kind::Video if video.begins_frame(batch) => Some(Cut::Here),
        Kind::Video => Some(Cut::Elsewhere),
        Kind::Audio => (!has_video).then_some(Cut::Here),
    }
}

/// The start moves by a large odd step, so that neighbours do not trail each other for long.
const ROTATION: usize = 0x9E37_79B1;
