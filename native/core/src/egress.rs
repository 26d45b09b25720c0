//! What leaves: the arena that packets are sealed into, the messages that point into it, and the
//! one way out.

use crate::path::Path;

/// Most packets of one train. 64 segments are the kernel's limit; beyond 16 the gain is small and
/// the burst on the viewer's last mile is not.
pub const MAX_TRAIN: usize = 16;

/// Most bytes of one packet on the wire with everything that we add. Larger ones go alone.
pub const MAX_SEGMENT: usize = 1_232;

/// One send: a single datagram or a train of equal ones.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// From and to.
    pub path: Path,
    /// Start in the arena.
    pub start: u32,
    /// Length in the arena, of all segments together.
    pub len: u32,
    /// Size of each segment but the last, in bytes; equal to `len` for a single datagram.
    pub segment: u16,
    /// Tells the sender of the message whom an outcome concerns; [`Message::NOBODY`] if nobody.
    pub owner: u32,
}

impl Message {
    /// Nobody waits for the outcome.
    pub const NOBODY: u32 = u32::MAX;

    /// How many datagrams it is.
    #[must_use]
    pub fn datagrams(&self) -> u32 {
        self.len.div_ceil(u32::from(self.segment).max(1))
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The kernel took it.
    Sent,
    /// The kernel refused the segment size on this route (EMSGSIZE, EINVAL) and took the datagrams
    /// one by one; this destination's trains need smaller segments or none.
    Unsegmented,
    /// The socket was full (EAGAIN, ENOBUFS); nothing of it was sent.
    Full,
    /// The kernel refused it (unreachable, not permitted, too large even alone).
    Refused,
}

/// The way out: `pyforward-io` sends, tests collect.
pub trait Transmit {
    /// Sends the messages in order and pushes one [`Outcome`] for each into `outcomes`, which is
    /// empty when called. Never blocks. Returns how many system calls it took.
    fn transmit(
        &mut self,
        arena: &[u8],
        messages: &[Message],
        outcomes: &mut Vec<Outcome>,
    ) -> usize;
}
