//! Newtypes for every number that could be mistaken for another one.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// One ICE + DTLS association, a publisher's or a viewer's. Given by control, counted up and
    /// never reused.
    SessionId(u64)
}
id! {
    /// What is published under a name. Given by control, never reused.
    StreamId(u64)
}
impl StreamId {
    /// No stream at all: never added, so that nobody can watch it.
    pub const NOWHERE: StreamId = StreamId(0);
}
id! {
    /// One thread with its socket of the shared port and its own sessions, from 0.
    ShardIndex(u8)
}
id! {
    /// Synchronisation source (RFC 3550 §3).
    Ssrc(u32)
}
id! {
    /// RTP payload type, 0 to 127 (RFC 3550 §5.1).
    PayloadType(u8)
}
id! {
    /// A question put to every shard; the answers carry it back.
    Ticket(u64)
}
