//! The two words that shards share about a session: who owns it, by one compare-and-swap, so that two
//! shards never seal for it; and whether a restart of ICE was used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::ids::ShardIndex;

const FREE: u32 = u32::MAX;
const CLOSED: u32 = u32::MAX - 1;

/// The claim word of one session, shared by every shard.
#[derive(Clone, Debug)]
pub struct Claim(Arc<AtomicU32>);

/// What [`Claim::take`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claimed {
    /// It is ours from now on; nobody had it.
    Taken,
    /// It is ours already.
    Ours,
    /// It belongs to this shard.
    Other(ShardIndex),
    /// It is over.
    Closed,
}

impl Default for Claim {
    fn default() -> Self {
        Claim(Arc::new(AtomicU32::new(FREE)))
    }
}

impl Claim {
    /// Claims the session for `shard` unless somebody has it.
    #[must_use]
    pub fn take(&self, shard: ShardIndex) -> Claimed {
        let ours = u32::from(shard.0);
        match self.0.compare_exchange(FREE, ours, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Claimed::Taken,
            Err(CLOSED) => Claimed::Closed,
            Err(owner) if owner == ours => Claimed::Ours,
            Err(owner) => Claimed::Other(ShardIndex(owner as u8)),
        }
    }

    /// The session is over: a shard that hears of it only now has nothing to keep.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED
    }

    /// Closes the session; for its owner.
    pub fn close(&self) {
        self.0.store(CLOSED, Ordering::Release);
    }

    /// Closes a session that nobody has claimed. True for the one caller that did it.
    #[must_use]
    pub fn close_unclaimed(&self) -> bool {
        self.0.compare_exchange(FREE, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Whether a check with the credentials of a restart was authenticated, on whichever shard: made
/// with the command, shared by the copies that the shards get, so that none of them takes the old
/// ones afterwards, not even a shard that hears of the restart only then.
#[derive(Clone, Debug, Default)]
pub struct Proven(Arc<AtomicBool>);

impl Proven {
    /// A check was authenticated.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether one was, anywhere.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
