//! Media that overtakes its keys. A publisher that is the DTLS server sends as soon as its last
//! flight is out, while control is still reading that flight. FFmpeg does, its keyframe first, and
//! it makes none on request: without this, viewers would wait for the next one.

use std::collections::VecDeque;

use super::Shard;
use super::network::{Protocol, demultiplex};
use crate::discard::Discard;
use crate::ids::SessionId;
use crate::session::Part;
use crate::time::Time;

/// Datagrams of all sessions together: a second of an ordinary stream, well under a megabyte.
const MOST: usize = 512;

/// Sealed datagrams of sessions without keys, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Early {
    held: VecDeque<(SessionId, Box<[u8]>)>,
}

impl Early {
    /// False where there is no room. What came first stays: a stream begins with its keyframe.
    fn keep(&mut self, session: SessionId, datagram: &[u8]) -> bool {
        let has_room = self.held.len() < MOST;
        if has_room {
            self.held.push_back((session, datagram.into()));
        }
        has_room
    }

    fn take(&mut self, session: SessionId) -> Vec<Box<[u8]>> {
        let (its, others): (Vec<_>, Vec<_>) =
            self.held.drain(..).partition(|(of, _)| *of == session);
        self.held.extend(others);
        its.into_iter().map(|(_, datagram)| datagram).collect()
    }
}

impl Shard {
    /// Media or RTCP of a session without keys: kept while a publisher shakes hands.
    pub(super) fn keep_early(&mut self, slot: usize, datagram: &[u8]) -> Result<(), Discard> {
        let session = self.sessions.get(slot).ok_or(Discard::UnknownSession)?;
        let association = session.association.as_deref().ok_or(Discard::UnknownSession)?;
        let publishes = matches!(association.part, Part::Publisher { .. });
        let kept =
            publishes && association.has_begun_dtls() && self.early.keep(session.id, datagram);
        if kept { Ok(()) } else { Err(Discard::SrtpNoKeys) }
    }

    /// The keys are here.
    pub(super) fn take_early(&mut self, now: Time, slot: usize, session: SessionId) {
        for mut datagram in self.early.take(session) {
            let taken = demultiplex(&datagram).and_then(|protocol| match protocol {
                Protocol::Rtcp => self.take_rtcp(now, slot, &mut datagram),
                _ => self.take_rtp(now, slot, &mut datagram),
            });
            if let Err(reason) = taken {
                self.stats.discard(reason);
            }
        }
    }

    /// There will be no keys.
    pub(super) fn forget_early(&mut self, session: SessionId) {
        for _ in self.early.take(session) {
            self.stats.discard(Discard::SrtpNoKeys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_get_their_own_in_order_and_the_first_stay() {
        let mut early = Early::default();
        for n in 0..=255 {
            assert!(early.keep(SessionId(1), &[n]));
            assert!(early.keep(SessionId(2), &[n]));
        }
        assert!(!early.keep(SessionId(1), &[7]), "full");
        let first: Vec<u8> = early.take(SessionId(1)).iter().map(|d| d[0]).collect();
        assert_eq!(first, (0..=255).collect::<Vec<_>>());
        assert!(early.take(SessionId(1)).is_empty());
        assert!(early.keep(SessionId(1), &[7]), "room again");
        assert_eq!(early.take(SessionId(2)).len(), 256);
        assert_eq!(early.take(SessionId(1)).len(), 1);
    }
}
