//! What a shard counts. Plain words: the shard that owns them is the only writer, and
//! `pyforward-io` publishes copies of them for control to read without a lock.

use crate::discard::Discard;

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
    /// Padding and probe packets received from publishers.
    PacketsInPadding = "packets_in_padding",
    /// Their bytes of UDP payload.
    BytesInPadding = "bytes_in_padding",
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
    /// Packets asked of publishers by NACK.
    NacksOut = "nacks_out",
    /// Keyframe requests from viewers (PLI and FIR).
    KeyframeRequestsIn = "keyframe_requests_in",
    /// Keyframe requests sent to publishers.
    KeyframeRequestsOut = "keyframe_requests_out",
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
}

/// Upper bounds of `pyforward_train_packets`, in packets; one more bucket counts what is above.
pub const TRAIN_BOUNDS: [u64; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// Upper bounds of `pyforward_forward_latency_seconds`, in microseconds from arrival to send.
pub const LATENCY_BOUNDS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

/// Upper bounds of `pyforward_shard_turn_seconds`, in microseconds from waking to waiting.
pub const TURN_BOUNDS: [u64; 10] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000];

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
        self.sum += value * times;
        match bounds.iter().position(|bound| value <= *bound) {
            Some(bucket) => self.buckets[bucket] += times,
            None => self.above += times,
        }
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
}

impl Default for Stats {
    fn default() -> Self {
        Stats {
            counters: [0; Counter::ALL.len()],
            discards: [0; Discard::ALL.len()],
            train_packets: Histogram::default(),
            forward_latency: Histogram::default(),
            turns: Histogram::default(),
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
        + 3 * 2;

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
        fn flat<const N: usize>(h: &Histogram<N>) -> impl Iterator<Item = u64> + '_ {
            h.buckets.iter().copied().chain([h.above, h.sum])
        }
        self.counters
            .iter()
            .chain(self.discards.iter())
            .copied()
            .chain(flat(&self.train_packets))
            .chain(flat(&self.forward_latency))
            .chain(flat(&self.turns))
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
