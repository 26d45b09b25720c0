//! What shards tell each other. One single-producer ring for each ordered pair of shards.

use std::sync::Arc;

use crate::ids::{SessionId, ShardIndex, StreamId};
use crate::media::{Codec, Kind};
use crate::packet::SharedPacket;
use crate::path::Path;
use crate::time::{Ntp, Time};

/// One message from a shard to another.
#[derive(Clone, Debug)]
pub enum Exchange {
    /// Media for the subscribers of the receiving shard.
    Media {
        /// Packets that leave together.
        departure: Arc<Departure>,
        /// When the receiving shard could have taken them.
        given: Time,
    },
    /// A datagram that arrived on the wrong shard.
    Stray {
        /// Whose it is.
        session: SessionId,
        /// How it came.
        path: Path,
        /// As received.
        datagram: Box<[u8]>,
        /// When it arrived at the first shard.
        arrival: Time,
    },
    /// The sender has subscribers of the stream, or none any more.
    Interest {
        /// Which stream.
        stream: StreamId,
        /// Who is interested.
        shard: ShardIndex,
        /// Or no longer.
        interested: bool,
    },
    /// A viewer on the sending shard needs a keyframe.
    KeyframeWanted {
        /// Of which stream.
        stream: StreamId,
    },
    /// The publisher's clock: what its last sender report said (RFC 3550 §6.4.1).
    Clock {
        /// Which stream.
        stream: StreamId,
        /// Which publisher.
        publisher: SessionId,
        /// Which track.
        kind: Kind,
        /// The track's clock rate in Hz.
        clock_rate: u32,
        /// Its wall clock when the report arrived, in our own.
        ntp: Ntp,
        /// The RTP timestamp of that moment.
        rtp_timestamp: u32,
    },
    /// A publisher can send, on the sending shard.
    SourceUp {
        /// Which stream.
        stream: StreamId,
        /// Which publisher.
        publisher: SessionId,
        /// Where it lives.
        shard: ShardIndex,
        /// The codec of each of its tracks.
        codecs: Vec<(Kind, Codec)>,
    },
    /// A publisher is gone.
    SourceDown {
        /// Which stream.
        stream: StreamId,
        /// Which publisher.
        publisher: SessionId,
    },
    /// A session is closed: forget its credentials and paths.
    Forget {
        /// Which one.
        session: SessionId,
    },
}

/// Packets of one track that leave together. Sizes and header rooms are fixed by now.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Which stream.
    pub stream: StreamId,
    /// Which publisher.
    pub publisher: SessionId,
    /// In sending order. All of one track, at most [`crate::egress::MAX_TRAIN`].
    pub packets: Vec<SharedPacket>,
    /// Where trains start: indices into `packets`, ascending, the first is 0. Packets of one train
    /// have one size, of which only the last may be smaller.
    pub trains: Vec<u8>,
}
