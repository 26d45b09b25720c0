//! What a shard tells of each of its streams without being asked: sums that it keeps as it goes, so
//! that telling them walks the streams and never their viewers.

use crate::stats::{Counter, Stats};
use crate::subscriber::Told;

macro_rules! figures {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// One stream on one shard, in plain words. What is not known is zero.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct StreamFigures { $($(#[$doc])* pub $field: u64,)* }

        impl StreamFigures {
            /// The names for control, in the order of the words.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];

            /// Every word.
            #[must_use]
            pub fn words(&self) -> Vec<u64> {
                vec![$(self.$field,)*]
            }
        }
    };
}

figures! {
    /// The stream's id.
    stream,
    /// Viewers on this shard that have keys.
    viewers,
    /// Those of them that wait for a keyframe, by the last packet that was sent to them.
    waiting,
    /// Media packets sent to viewers for the first time.
    packets_out,
    /// Their bytes of UDP payload.
    bytes_out,
    /// Packets that NACKs of viewers asked for.
    nacks_in,
    /// Retransmissions that they got.
    packets_resent,
    /// Packets that the kernel did not take, or that the shard left out.
    send_drops,
    /// Reports of viewers.
    reports,
    /// What they told of loss, added up, in 1/256.
    reported_loss,
    /// Round trips that reports told.
    round_trips,
    /// These, added up, in microseconds.
    round_trips_us,
    /// Bytes in the caches that answer NACKs.
    cache_bytes,
    /// The session that holds the stream, if it lives on this shard; what follows is of it.
    publisher,
    /// Media packets accepted.
    packets_in,
    /// Their bytes of UDP payload.
    bytes_in,
    /// Packets given up as lost.
    packets_lost,
    /// Packets asked for by NACK.
    nacks_out,
    /// Packets that came because they were asked for.
    packets_repaired,
    /// Keyframes received.
    keyframes,
    /// Between the last two.
    keyframe_interval_us,
    /// Since the last one; [`StreamFigures::NEVER`] before the first.
    keyframe_age_us,
    /// Since the last packet; [`StreamFigures::NEVER`] before the first.
    packet_age_us,
    /// Round trip by its reports.
    publisher_round_trip_us,
    /// Interarrival jitter of what is forwarded of it, the worse track.
    publisher_jitter_us,
}

impl StreamFigures {
    /// The age of what has not come yet.
    pub const NEVER: u64 = u64::MAX;

    /// The same, told so much later.
    #[must_use]
    pub fn aged(mut self, by_us: u64) -> StreamFigures {
        for age in [&mut self.keyframe_age_us, &mut self.packet_age_us] {
            *age = age.saturating_add(by_us);
        }
        self
    }
}

/// The sums of one stream on one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    /// See [`StreamFigures`], for all of them.
    pub packets_out: u64,
    /// Bytes of these.
    pub bytes_out: u64,
    /// Packets that NACKs asked for.
    pub nacks_in: u64,
    /// Retransmissions.
    pub packets_resent: u64,
    /// Packets that the kernel did not take, or that the shard left out.
    pub send_drops: u64,
    /// Reports of viewers.
    pub reports: u64,
    /// Their loss, in 1/256.
    pub reported_loss: u64,
    /// Those that told a round trip.
    pub round_trips: u64,
    /// The round trips, in microseconds.
    pub round_trips_us: u64,
}

/// What of a shard's counters is also a stream's: read before and after the shard did something for
/// that stream, so that nothing is counted twice on the packet path.
#[derive(Clone, Copy, Debug)]
pub struct Mark([u64; 5]);

impl Mark {
    const COUNTERS: [Counter; 5] = [
        Counter::PacketsOut,
        Counter::BytesOut,
        Counter::NacksIn,
        Counter::PacketsOutRetransmission,
        Counter::SendDropsShed,
    ];

    /// How things stand.
    #[must_use]
    pub fn of(stats: &Stats) -> Mark {
        Mark(Mark::COUNTERS.map(|counter| stats.get(counter)))
    }
}

impl Sums {
    /// Adds a report of one of the stream's viewers.
    pub fn add_report(&mut self, told: Option<Told>) {
        let Some(Told { lost, round_trip_us }) = told else { return };
        self.reports += 1;
        self.reported_loss += lost;
        self.round_trips += u64::from(round_trip_us.is_some());
        self.round_trips_us += round_trip_us.unwrap_or(0);
    }

    /// Adds what the shard has counted since.
    pub fn add_since(&mut self, before: Mark, stats: &Stats) {
        let Mark(after) = Mark::of(stats);
        let mut by = [0; 5];
        for ((by, after), before) in by.iter_mut().zip(after).zip(before.0) {
            *by = after - before;
        }
        let [packets, bytes, nacks, resent, shed] = by;
        self.packets_out += packets;
        self.bytes_out += bytes;
        self.nacks_in += nacks;
        self.packets_resent += resent;
        self.send_drops += shed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_gets_what_was_counted_meanwhile() {
        let (mut stats, mut sums) = (Stats::default(), Sums::default());
        stats.add(Counter::PacketsOut, 5);
        let before = Mark::of(&stats);
        stats.add(Counter::PacketsOut, 2);
        stats.add(Counter::BytesOut, 2_000);
        stats.add(Counter::NacksIn, 3);
        stats.add(Counter::SendDropsShed, 4);
        sums.add_since(before, &stats);
        let expected = Sums {
            packets_out: 2,
            bytes_out: 2_000,
            nacks_in: 3,
            send_drops: 4,
            ..Sums::default()
        };
        assert_eq!(sums, expected);
    }

    #[test]
    fn what_never_came_stays_so_however_late_it_is_told() {
        let told = StreamFigures { keyframe_age_us: 5, ..StreamFigures::default() };
        let told = StreamFigures { packet_age_us: StreamFigures::NEVER, ..told }.aged(3);
        assert_eq!((told.keyframe_age_us, told.packet_age_us), (8, StreamFigures::NEVER));
        assert_eq!(told.words().len(), StreamFigures::NAMES.len());
    }
}
