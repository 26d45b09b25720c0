//! Stamps: what a measuring publisher puts behind each payload, so that a measuring viewer can tell
//! when it was sent, which one it is, and whether it is whole. Only the harness sends them; to the
//! engine they are payload like any other.
//!
//! The last 24 bytes, little-endian: `pfst`, the packet's number on its track, whose clock it is, the
//! time by that clock in microseconds, and CRC-32 (ISO 3309) of everything before it. Whoever makes
//! the payload writes the first two and leaves the rest to [`write`].

use crate::time::{MachineClock, Time};

/// Bytes of a stamp.
pub const LEN: usize = 24;

const MAGIC: &[u8; 4] = b"pfst";
const CLOCK: usize = 8;
const CRC: usize = 20;

/// What a payload's stamp says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Counts the packets of the track at its publisher.
    pub counter: u32,
    /// The payload is as it was sent.
    pub intact: bool,
    /// When it was sent, by [`MachineClock`]; none of another machine.
    pub sent_micros: Option<u64>,
}

/// Completes the stamp of a payload that is about to leave; nothing where there is none.
pub fn write(payload: &mut [u8], clock: MachineClock, now: Time) {
    let Some((before, stamp)) = split(payload) else { return };
    stamp[CLOCK..CLOCK + 4].copy_from_slice(&clock.id.to_le_bytes());
    stamp[CLOCK + 4..CRC].copy_from_slice(&clock.micros(now).to_le_bytes());
    let crc = checksum(before, &stamp[..CRC]);
    stamp[CRC..].copy_from_slice(&crc.to_le_bytes());
}

/// Reads a payload's stamp and judges it.
#[must_use]
pub fn read(payload: &[u8], clock: MachineClock) -> Option<Stamp> {
    let (before, stamp) = payload.split_last_chunk::<LEN>()?;
    let word = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&stamp[at..at + 4]);
        u32::from_le_bytes(word)
    };
    if stamp[..4] != *MAGIC {
        return None;
    }
    let intact = checksum(before, &stamp[..CRC]) == word(CRC);
    let micros = u64::from(word(CLOCK + 4)) | u64::from(word(CLOCK + 8)) << 32;
    let ours = intact && clock.id != 0 && word(CLOCK) == clock.id;
    Some(Stamp { counter: word(4), intact, sent_micros: ours.then_some(micros) })
}

fn split(payload: &mut [u8]) -> Option<(&[u8], &mut [u8; LEN])> {
    let (before, stamp) = payload.split_last_chunk_mut::<LEN>()?;
    (stamp[..4] == *MAGIC).then_some((before, stamp))
}

fn checksum(before: &[u8], stamp: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(before);
    hasher.update(stamp);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HERE: MachineClock = MachineClock { id: 7, micros_at_zero: 1 << 40 };

    fn payload(counter: u32) -> Vec<u8> {
        let mut payload = b"what a picture is made of".to_vec();
        payload.extend_from_slice(MAGIC);
        payload.extend_from_slice(&counter.to_le_bytes());
        payload.resize(payload.len() + 16, 0);
        payload
    }

    #[test]
    fn what_is_written_is_read() {
        let mut payload = payload(41);
        write(&mut payload, HERE, Time(250));
        let stamp = read(&payload, HERE).unwrap();
        let sent_micros = Some((1 << 40) + 250);
        assert_eq!(stamp, Stamp { counter: 41, intact: true, sent_micros });
    }

    #[test]
    fn any_other_byte_shows() {
        let mut sent = payload(41);
        write(&mut sent, HERE, Time(250));
        let magic = sent.len() - LEN..sent.len() - LEN + 4;
        for at in (0..sent.len()).filter(|at| !magic.contains(at)) {
            let mut altered = sent.clone();
            altered[at] ^= 0x10;
            let stamp = read(&altered, HERE).unwrap();
            assert!(!stamp.intact && stamp.sent_micros.is_none(), "byte {at}");
        }
    }

    #[test]
    fn another_machines_clock_tells_no_time() {
        let mut payload = payload(1);
        write(&mut payload, HERE, Time(250));
        for id in [0, 8] {
            let stamp = read(&payload, MachineClock { id, ..HERE }).unwrap();
            assert!(stamp.intact && stamp.sent_micros.is_none());
        }
        write(&mut payload, MachineClock { id: 0, ..HERE }, Time(250));
        let stamp = read(&payload, MachineClock { id: 0, ..HERE }).unwrap();
        assert_eq!(stamp.sent_micros, None, "no clock is nobody's");
    }

    #[test]
    fn a_payload_without_one_is_left_alone() {
        for payload in [vec![], vec![1; 23], vec![1; 1_000]] {
            let mut written = payload.clone();
            write(&mut written, HERE, Time(9));
            assert_eq!(written, payload);
            assert_eq!(read(&payload, HERE), None);
        }
    }
}
