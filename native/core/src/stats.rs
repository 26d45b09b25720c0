//! What a shard counts. Plain words: the shard that owns them is the only writer, and
//! `pyforward-io` publishes copies of them for control to read without a lock.

use crate::discard::Discard;
use crate::stages::Stages;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Monotonic counters of one shard, besides the discards.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// Every counter, in the order of its word.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The counter's name for control; `pyforward.metrics.catalog` relates it to a metric.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Datagrams received, of any protocol.
    DatagramsIn = "datagrams_in",
    /// Datagrams that the kernel dropped because the shard did not take them in time.
    DatagramsDropped = "datagrams_dropped",
    /// Media packets accepted from publishers.
    PacketsIn = "packets_in",
    /// Their bytes of UDP payload.
    BytesIn = "bytes_in",
    /// Retransmissions accepted from publishers.
    PacketsInRetransmission = "packets_in_retransmission",
    /// Their bytes of UDP payload.
    BytesInRetransmission = "bytes_in_retransmission",
    /// Packets of padding received from publishers, in the order of the media.
    PacketsInPadding = "packets_in_padding",
    /// Their bytes of UDP payload.
    BytesInPadding = "bytes_in_padding",
    /// Packets by which publishers probed the path: retransmissions of nothing.
    PacketsInProbe = "packets_in_probe",
    /// Their bytes of UDP payload.
    BytesInProbe = "bytes_in_probe",
    /// Media packets sent to viewers for the first time.
    PacketsOut = "packets_out",
    /// Their bytes of UDP payload.
    BytesOut = "bytes_out",
    /// Retransmissions sent to viewers.
    PacketsOutRetransmission = "packets_out_retransmission",
    /// Their bytes of UDP payload.
    BytesOutRetransmission = "bytes_out_retransmission",
    /// Bytes of padding that evened packets out.
    BytesOutPadding = "bytes_out_padding",
    /// Viewer packets dropped because the socket was full.
    SendDropsFull = "send_drops_full",
    /// Viewer packets dropped because the kernel refused them.
    SendDropsError = "send_drops_error",
    /// Viewer packets left out because the shard could not keep up.
    SendDropsShed = "send_drops_shed",
    /// Trains resent unsegmented because the route or the device refused the segment size.
    SendUnsegmented = "send_unsegmented",
    /// Packets that NACKs of viewers asked for.
    NacksIn = "nacks_in",
    /// Those that were answered from the cache.
    NacksServed = "nacks_served",
    /// Those that the cache lacked.
    NacksMissed = "nacks_missed",
    /// Those beyond a budget.
    NacksRefused = "nacks_refused",
    /// Those that were sent less than a round trip ago, so that the answer is on its way.
    NacksMerged = "nacks_merged",
    /// Packets asked of publishers by NACK.
    NacksOut = "nacks_out",
    /// Keyframe requests from viewers (PLI and FIR).
    KeyframeRequestsIn = "keyframe_requests_in",
    /// Keyframe requests sent to publishers.
    KeyframeRequestsOut = "keyframe_requests_out",
    /// Wishes for a keyframe that another request stands for.
    KeyframeRequestsMerged = "keyframe_requests_merged",
    /// Picture loss indications of viewers (RFC 4585 §6.3.1).
    PlisIn = "plis_in",
    /// Those that were sent to publishers.
    PlisOut = "plis_out",
    /// Full intra requests of viewers (RFC 5104 §4.3.1).
    FirsIn = "firs_in",
    /// Those that were sent to publishers.
    FirsOut = "firs_out",
    /// Keyframes received.
    Keyframes = "keyframes",
    /// STUN binding requests answered.
    ChecksAnswered = "checks_answered",
    /// Binding requests of our own that were sent.
    ChecksSent = "checks_sent",
    /// Sessions that this shard was told of.
    SessionsAdded = "sessions_added",
    /// Those of them that it holds no more.
    SessionsRemoved = "sessions_removed",
    /// Packets of publishers given up as lost.
    PacketsLost = "packets_lost",
    /// Messages to other shards.
    ExchangedOut = "exchanged_out",
    /// Messages (single datagrams and trains) handed to the kernel.
    MessagesOut = "messages_out",
    /// System calls that sent messages.
    SendCalls = "send_calls",
    /// Events that were dropped because control did not take them.
    EventsDropped = "events_dropped",
    /// Microseconds in which the shard was not waiting.
    BusyMicros = "busy_micros",
    /// Microseconds of CPU that its thread used; told some times a second.
    CpuMicros = "cpu_micros",
}

/// Upper bounds of `pyforward_train_packets`, in packets; one more bucket counts what is above.
pub const TRAIN_BOUNDS: [u64; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// Upper bounds of `pyforward_forward_latency_seconds`, in microseconds from arrival to send.
pub const LATENCY_BOUNDS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

/// Upper bounds of `pyforward_shard_turn_seconds`, in microseconds from waking to waiting.
pub const TURN_BOUNDS: [u64; 10] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000];

/// Upper bounds of `pyforward_fan_out_seconds`, in microseconds from when packets came to when they
/// have gone round all viewers.
pub const FAN_OUT_BOUNDS: [u64; 10] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000];

/// Upper bounds of `pyforward_viewer_loss_ratio`, in 1/10,000 of what a report spans.
pub const LOSS_BOUNDS: [u64; 9] = [0, 50, 100, 200, 500, 1_000, 2_000, 3_500, 5_000];

/// Upper bounds of `pyforward_viewer_jitter_seconds`, in microseconds.
pub const JITTER_BOUNDS: [u64; 9] =
    [1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000, 250_000];

/// Upper bounds of `pyforward_viewer_round_trip_seconds`, in microseconds.
pub const ROUND_TRIP_BOUNDS: [u64; 10] =
    [1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 200_000, 400_000, 800_000, 2_000_000];

/// The number of the first bucket that holds a value: as many as there are bounds for what is above
/// all of them.
#[must_use]
pub fn bucket_of<const N: usize>(bounds: &[u64; N], value: u64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(N)
}

/// A histogram of fixed buckets. The last bucket counts what is above every bound.
#[derive(Clone, Debug)]
pub struct Histogram<const N: usize> {
    /// Observations by bucket, not cumulative.
    pub buckets: [u64; N],
    /// Observations beyond the last bound.
    pub above: u64,
    /// Sum of the observed values.
    pub sum: u64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram { buckets: [0; N], above: 0, sum: 0 }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts `times` observations of `value` under the bucket whose bound is the first to hold it.
    pub fn observe(&mut self, bounds: &[u64; N], value: u64, times: u64) {
        self.sum = self.sum.wrapping_add(value.wrapping_mul(times));
        match self.buckets.get_mut(bucket_of(bounds, value)) {
            Some(count) => *count += times,
            None => self.above += times,
        }
    }

    /// Its buckets, what is above them, and the sum.
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.buckets.iter().copied().chain([self.above, self.sum])
    }
}

/// Everything that one shard counts.
#[derive(Clone, Debug)]
pub struct Stats {
    counters: [u64; Counter::ALL.len()],
    discards: [u64; Discard::ALL.len()],
    /// Packets in each message that carried media to a viewer.
    pub train_packets: Histogram<{ TRAIN_BOUNDS.len() }>,
    /// From a packet's arrival to the hand-over of its train, in microseconds.
    pub forward_latency: Histogram<{ LATENCY_BOUNDS.len() }>,
    /// How long each turn took, in microseconds: what waits meanwhile is so late.
    pub turns: Histogram<{ TURN_BOUNDS.len() }>,
    /// How long it took to send what had come to all viewers, in microseconds.
    pub fan_out: Histogram<{ FAN_OUT_BOUNDS.len() }>,
    /// Share lost by each report of each viewer, in 1/10,000.
    pub viewer_loss: Histogram<{ LOSS_BOUNDS.len() }>,
    /// Interarrival jitter by each report of each viewer, in microseconds.
    pub viewer_jitter: Histogram<{ JITTER_BOUNDS.len() }>,
    /// Round trip by each report of each viewer, in microseconds.
    pub viewer_round_trip: Histogram<{ ROUND_TRIP_BOUNDS.len() }>,
    /// How long viewers took over each stage of their joining.
    pub stages: Stages,
}

impl Default for Stats {
    fn default() -> Self {
        Stats {
            counters: [0; Counter::ALL.len()],
            discards: [0; Discard::ALL.len()],
            train_packets: Histogram::default(),
            forward_latency: Histogram::default(),
            turns: Histogram::default(),
            fan_out: Histogram::default(),
            viewer_loss: Histogram::default(),
            viewer_jitter: Histogram::default(),
            viewer_round_trip: Histogram::default(),
            stages: Stages::default(),
        }
    }
}

impl Stats {
    /// How many words [`Stats::words`] gives.
    pub const WORDS: usize = Counter::ALL.len()
        + Discard::ALL.len()
        + TRAIN_BOUNDS.len()
        + LATENCY_BOUNDS.len()
        + TURN_BOUNDS.len()
        + FAN_OUT_BOUNDS.len()
        + LOSS_BOUNDS.len()
        + JITTER_BOUNDS.len()
        + ROUND_TRIP_BOUNDS.len()
        + 7 * 2
        + Stages::WORDS;

    /// Adds to a counter.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        self.counters[counter as usize] += amount;
    }

    /// Counts a packet that goes no further.
    pub fn discard(&mut self, reason: Discard) {
        self.discards[reason as usize] += 1;
    }

    /// A counter's value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// How many packets were dropped for this reason.
    #[must_use]
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discards[reason as usize]
    }

    /// Everything as words in a fixed order: counters, discards, then each histogram as buckets,
    /// above, sum.
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.counters
            .iter()
            .chain(self.discards.iter())
            .copied()
            .chain(self.train_packets.words())
            .chain(self.forward_latency.words())
            .chain(self.turns.words())
            .chain(self.fan_out.words())
            .chain(self.viewer_loss.words())
            .chain(self.viewer_jitter.words())
            .chain(self.viewer_round_trip.words())
            .chain(self.stages.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_many_as_announced() {
        assert_eq!(Stats::default().words().count(), Stats::WORDS);
    }

    #[test]
    fn histogram_counts_on_the_bound_as_within() {
        let mut histogram = Histogram::default();
        histogram.observe(&TRAIN_BOUNDS, 8, 3);
        histogram.observe(&TRAIN_BOUNDS, 17, 1);
        assert_eq!(histogram.buckets[5], 3);
        assert_eq!((histogram.above, histogram.sum), (1, 41));
    }
}
