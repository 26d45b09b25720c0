//! H.264 parameter sets, remembered for keyframes that come without them (RFC 6184 §8.2.2 lets a
//! publisher tell them in its SDP alone, or in-band only at its start).

use crate::rtp::codec::h264;

/// Most parameter sets that are remembered.
const MAX_UNITS: usize = 8;
/// Most bytes of them: they must fit into one packet.
const MAX_BYTES: usize = 1_000;
/// NAL unit type of an SPS (RFC 6184 §5.2), in the low five bits of its first byte.
const SPS: u8 = 7;

/// The parameter sets of one track.
#[derive(Debug)]
pub(super) struct ParameterSets {
    units: Vec<Vec<u8>>,
    /// The RTP timestamp at which some were last seen in-band, or inserted.
    at: Option<u32>,
    seen_in_band: bool,
}

impl ParameterSets {
    /// What the SDP told.
    pub(super) fn new(units: &[Vec<u8>]) -> ParameterSets {
        let mut sets = ParameterSets { units: Vec::new(), at: None, seen_in_band: false };
        units.iter().for_each(|unit| sets.remember(unit));
        sets
    }

    /// A payload with parameter sets: they replace those of earlier pictures.
    pub(super) fn see(&mut self, timestamp: u32, payload: &[u8]) {
        let starts_anew = self.at != Some(timestamp);
        // An encoder that repeats the PPS alone keeps its SPS.
        if starts_anew && h264::parameter_sets(payload).any(is_sps) {
            self.units.clear();
        }
        self.at = Some(timestamp);
        self.seen_in_band = true;
        h264::parameter_sets(payload).for_each(|unit| self.remember(unit));
    }

    /// An IDR picture starts, `gap` packets after the last packet: what is to be inserted before
    /// it, as one payload. Nothing if the picture has parameter sets, or may have had them in what
    /// is missing.
    pub(super) fn before_idr(&mut self, timestamp: u32, gap: u64) -> Option<Vec<u8>> {
        if self.at == Some(timestamp) || (gap > 0 && self.seen_in_band) || self.units.is_empty() {
            return None;
        }
        self.at = Some(timestamp);
        let units: Vec<&[u8]> = self.units.iter().map(Vec::as_slice).collect();
        let mut payload = Vec::with_capacity(MAX_BYTES);
        h264::stap_a(&units, &mut payload);
        (!payload.is_empty()).then_some(payload)
    }

    fn remember(&mut self, unit: &[u8]) {
        let bytes: usize = self.units.iter().map(Vec::len).sum();
        let fits = self.units.len() < MAX_UNITS && bytes + unit.len() <= MAX_BYTES;
        if fits && !unit.is_empty() && self.units.iter().all(|known| known != unit) {
            // SPS first: a PPS refers to one.
            let at = if is_sps(unit) {
                self.units.partition_point(|known| is_sps(known))
            } else {
                self.units.len()
            };
            self.units.insert(at, unit.to_vec());
        }
    }
}

fn is_sps(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| header & 0x1f == SPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS_A: &[u8] = &[0x67, 1, 2];
    const SPS_B: &[u8] = &[0x67, 9];
    const PPS: &[u8] = &[0x68, 5];

    fn stap(units: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        h264::stap_a(units, &mut out);
        out
    }

    #[test]
    fn told_by_sdp_they_come_before_every_idr() {
        let mut sets = ParameterSets::new(&[PPS.to_vec(), SPS_A.to_vec()]);
        assert_eq!(sets.before_idr(1, 0), Some(stap(&[SPS_A, PPS])));
        assert_eq!(sets.before_idr(1, 0), None, "second slice");
        assert_eq!(sets.before_idr(2, 3), Some(stap(&[SPS_A, PPS])));
    }

    #[test]
    fn those_seen_in_band_replace_and_are_not_repeated_over_a_gap() {
        let mut sets = ParameterSets::new(&[SPS_A.to_vec(), PPS.to_vec()]);
        sets.see(1, SPS_B);
        sets.see(1, PPS);
        assert_eq!(sets.before_idr(1, 0), None, "the picture has its own");
        assert_eq!(sets.before_idr(2, 1), None, "the missing packet may hold newer ones");
        assert_eq!(sets.before_idr(2, 0), Some(stap(&[SPS_B, PPS])));
    }

    #[test]
    fn bounded() {
        let mut sets = ParameterSets::new(&[]);
        assert_eq!(sets.before_idr(1, 0), None);
        for n in 0..200 {
            sets.see(1, &[0x68, n]);
        }
        sets.see(1, &[0x67; 5_000]);
        assert_eq!(sets.units.len(), MAX_UNITS);
    }
}
