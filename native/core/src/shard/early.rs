//! Media that overtakes its keys, while control is still reading the peer's last flight: a publisher
//! that is the DTLS server sends as soon as that flight is out, and so does a server to a session in
//! the client role. Both begin with a keyframe, and the next one takes its time: FFmpeg makes none on
//! request.

use super::Shard;
use super::network::{Protocol, demultiplex};
use crate::discard::Discard;
use crate::session::{Association, Part};
use crate::time::Time;

/// Datagrams of one session: a second of an ordinary stream.
const MOST: usize = 256;

/// Datagrams of all sessions of a shard together: 12 MB at most.
const MOST_TOGETHER: usize = 8_192;

/// The longest of them: an Ethernet frame's worth.
const MOST_BYTES: usize = 1_500;

impl Shard {
    /// Media or RTCP of a session without keys: kept while it shakes hands. What came first stays.
    pub(super) fn keep_early(
        &mut self,
        slot: usize,
        received: Time,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        let session = self.sessions.get_mut(slot).ok_or(Discard::UnknownSession)?;
        let association = session.association.as_deref_mut().ok_or(Discard::UnknownSession)?;
        let has_room = association.early.len() < MOST && self.early < MOST_TOGETHER;
        if !may_overtake(association) || !has_room || datagram.len() > MOST_BYTES {
            return Err(Discard::SrtpNoKeys);
        }
        association.early.push((received, datagram.into()));
        self.early += 1;
        Ok(())
    }

    /// The keys are here.
    pub(super) fn take_early(&mut self, now: Time, slot: usize) {
        let session = self.sessions.get_mut(slot);
        let Some(association) = session.and_then(|s| s.association.as_deref_mut()) else { return };
        let early = std::mem::take(&mut association.early);
        self.early -= early.len();
        for (received, mut datagram) in early {
            let taken = demultiplex(&datagram).and_then(|protocol| match protocol {
                Protocol::Rtcp => self.take_rtcp(now, slot, received, &mut datagram),
                _ => self.take_rtp(now, slot, received, &mut datagram),
            });
            if let Err(reason) = taken {
                self.stats.discard(reason);
            }
        }
    }

    /// There will be no keys.
    pub(super) fn forget_early(&mut self, association: &Association) {
        self.early -= association.early.len();
        for _ in &association.early {
            self.stats.discard(Discard::SrtpNoKeys);
        }
    }
}

/// True if the peer may have its keys before we have ours.
fn may_overtake(association: &Association) -> bool {
    let publishes = matches!(association.part, Part::Publisher { .. });
    association.checks.is_some() || (publishes && association.has_begun_dtls())
}
