//! What a shard tells of its streams: sums that are there already, and the state of publishers that
//! live here. Nothing here walks viewers.

use super::Shard;
use crate::figures::{StreamFigures, Sums};
use crate::media::Kind;
use crate::session::Part;
use crate::source::Figures;
use crate::stream::Stream;
use crate::time::Time;

impl Shard {
    /// Every stream that this shard knows, in no order.
    pub fn stream_figures(&self, now: Time) -> impl Iterator<Item = StreamFigures> + '_ {
        self.streams.values().map(move |stream| self.figures_of(now, stream))
    }

    fn figures_of(&self, now: Time, stream: &Stream) -> StreamFigures {
        let Sums {
            packets_out,
            bytes_out,
            nacks_in,
            packets_resent,
            send_drops,
            reports,
            reported_loss,
            round_trips,
            round_trips_us,
        } = stream.sums;
        let told = StreamFigures {
            stream: stream.id.0,
            viewers: stream.subscribers.len() as u64,
            waiting: stream.waiting as u64,
            packets_out,
            bytes_out,
            nacks_in,
            packets_resent,
            send_drops,
            reports,
            reported_loss,
            round_trips,
            round_trips_us,
            cache_bytes: Kind::ALL.iter().map(|kind| stream.cache(*kind).bytes() as u64).sum(),
            ..StreamFigures::default()
        };
        self.with_publisher(now, stream, told)
    }

    fn with_publisher(&self, now: Time, stream: &Stream, told: StreamFigures) -> StreamFigures {
        let holder = stream.publisher().filter(|holder| holder.shard == self.config.index);
        let slot = holder.and_then(|holder| self.by_id.get(&holder.session));
        let session = slot.and_then(|slot| self.sessions.get(*slot));
        let part = session.and_then(|session| session.association.as_deref()).map(|a| &a.part);
        let (Some(session), Some(Part::Publisher { source, .. })) = (session, part) else {
            return told;
        };
        let figures: Figures = source.figures(now);
        let age = |at: Option<Time>| {
            at.map_or(StreamFigures::NEVER, |at| now.since(at).as_micros() as u64)
        };
        let micros = |ms: Option<f64>| (ms.unwrap_or(0.0) * 1_000.0) as u64;
        StreamFigures {
            publisher: session.id.0,
            packets_in: figures.packets,
            bytes_in: figures.bytes,
            packets_lost: figures.lost,
            nacks_out: figures.nacks,
            packets_repaired: figures.repaired,
            keyframes: figures.keyframes,
            keyframe_interval_us: micros(figures.keyframe_interval_ms),
            keyframe_age_us: age(figures.keyframe_at),
            packet_age_us: age(figures.packet_at),
            publisher_round_trip_us: micros(figures.rtt_ms),
            publisher_jitter_us: figures.jitter.as_micros() as u64,
            ..told
        }
    }
}
