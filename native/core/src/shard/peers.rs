//! What other shards say.

use super::{Shard, mark_ready};
use crate::command::CloseReason;
use crate::discard::Discard;
use crate::exchange::Exchange;
use crate::ids::{ShardIndex, StreamId};
use crate::path::Datagram;
use crate::session::Part;
use crate::stream::{Publisher, Stream};
use crate::time::Time;

impl Shard {
    pub(super) fn take_exchange(&mut self, now: Time, message: Exchange) {
        match message {
            Exchange::Media { departure, given } => {
                self.shedding.observe(now.since(given));
                if let Some(stream) = self.streams.get_mut(&departure.stream) {
                    stream.handle_departure(now, self.config.wall_clock, &departure);
                    mark_ready(stream, &mut self.streams_ready);
                }
            }
            Exchange::Stray { session, path, mut datagram, arrival } => {
                let slot = self.by_id.get(&session).copied();
                let datagram = Datagram { path, received: arrival, bytes: &mut datagram };
                let taken = slot
                    .ok_or(Discard::UnknownSession)
                    .and_then(|slot| self.take_own(now, slot, datagram));
                if let Err(reason) = taken {
                    self.stats.discard(reason);
                }
            }
            Exchange::Interest { stream, shard, interested } => {
                self.set_interest(stream, shard, interested);
            }
            Exchange::KeyframeWanted { stream } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.keyframe_wanted = true;
                    mark_ready(stream, &mut self.streams_ready);
                }
            }
            Exchange::Clock { stream, publisher, kind, clock_rate, ntp, rtp_timestamp } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.set_clock(publisher, kind, clock_rate, ntp, rtp_timestamp);
                }
            }
            Exchange::SourceUp { stream, publisher, shard, codecs } => {
                self.take_publisher(stream, Publisher { session: publisher, shard, codecs });
            }
            Exchange::SourceDown { stream, publisher } => self.lose_publisher(stream, publisher),
            Exchange::Forget { session } => {
                if let Some(slot) = self.by_id.get(&session).copied() {
                    self.close(slot, CloseReason::Silent);
                }
            }
        }
    }

    /// A stream that another shard speaks of. It may have heard of it before us: commands reach
    /// shards one after the other. Ids are counted up, so one that is unknown and not newer than
    /// the last added was removed.
    pub(super) fn told_stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        if id > self.newest_stream {
            let pace = self.config.pace_bytes_per_second;
            self.streams.entry(id).or_insert_with(|| Stream::new(id, pace));
        }
        self.streams.get_mut(&id)
    }

    /// Which shards want the stream's packets is known on every shard, because its publisher may
    /// come on any.
    fn set_interest(&mut self, id: StreamId, shard: ShardIndex, interested: bool) {
        let Some(stream) = self.told_stream(id) else { return };
        let bit = 1u64 << (shard.0 & 63);
        if interested {
            stream.interested |= bit;
            stream.keyframe_wanted = true;
            self.mark_ready(id);
        } else {
            stream.interested &= !bit;
        }
    }

    pub(super) fn mark_ready(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            mark_ready(stream, &mut self.streams_ready);
        }
    }

    /// Turns the wishes of this round into one request a stream, to the publisher's shard.
    pub(super) fn request_keyframes(&mut self, now: Time) {
        for position in 0..self.streams_ready.len() {
            let id = self.streams_ready[position];
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if !std::mem::take(&mut stream.keyframe_wanted) {
                continue;
            }
            let Some(publisher) = stream.publisher() else { continue };
            if publisher.shard != self.config.index {
                self.exchanges
                    .push_back((publisher.shard, Exchange::KeyframeWanted { stream: id }));
                continue;
            }
            let Some(slot) = self.by_id.get(&publisher.session).copied() else { continue };
            let association = self.sessions.get_mut(slot).and_then(|s| s.association.as_mut());
            if let Some(Part::Publisher { source, .. }) = association.map(|a| &mut a.part) {
                source.request_keyframe(now, &mut self.stats);
                self.queue_source(slot);
            }
        }
    }
}
