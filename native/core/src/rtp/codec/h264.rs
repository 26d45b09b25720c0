//! H.264 (RFC 6184): single NAL units, STAP-A and FU-A, that is packetization modes 0 and 1.
//! Mode 2 (interleaved) is not negotiated, so its packets show nothing.

/// NAL unit types (RFC 6184 §5.2).
mod nal {
    pub(super) const IDR: u8 = 5;
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const STAP_A: u8 = 24;
    pub(super) const FU_A: u8 = 28;
}

/// The payload contains the start of an IDR picture's first slice.
#[must_use]
pub fn starts_idr(payload: &[u8]) -> bool {
    match payload {
        // S E R Type (RFC 6184 §5.8)
        [indicator, header, slice, ..] if kind(*indicator) == nal::FU_A => {
            let starts = header & 0x80 != 0;
            starts && kind(*header) == nal::IDR && is_first_slice(*slice)
        }
        _ => nal_units(payload).any(|unit| match unit {
            [header, slice, ..] => kind(*header) == nal::IDR && is_first_slice(*slice),
            _ => false,
        }),
    }
}

/// The SPS and PPS NAL units in the payload: itself, or what its STAP-A holds. One that was cut
/// into fragments is not found; encoders do not make them that long.
#[must_use]
pub fn parameter_sets(payload: &[u8]) -> ParameterSets<'_> {
    ParameterSets(nal_units(payload))
}

/// Appends to `out` the STAP-A payload (RFC 6184 §5.7.1) that holds these NAL units; units too
/// long for its 16-bit sizes, and empty ones, are left out. Nothing is written for no units.
pub fn stap_a(units: &[&[u8]], out: &mut Vec<u8>) {
    let header_at = out.len();
    // F is the OR of all F bits, NRI the highest of all (RFC 6184 §5.7.1).
    let mut forbidden = 0;
    let mut importance = 0;
    for unit in units {
        let (Some(header), Ok(len)) = (unit.first(), u16::try_from(unit.len())) else { continue };
        if out.len() == header_at {
            out.push(0);
        }
        forbidden |= header & 0x80;
        importance = importance.max(header & 0x60);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(unit);
    }
    if let Some(header) = out.get_mut(header_at) {
        *header = forbidden | importance | nal::STAP_A;
    }
}

/// Iterates over parameter sets; see [`parameter_sets`].
#[derive(Clone, Debug)]
pub struct ParameterSets<'a>(NalUnits<'a>);

impl<'a> Iterator for ParameterSets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.find(|unit| {
            unit.first().is_some_and(|header| matches!(kind(*header), nal::SPS | nal::PPS))
        })
    }
}

/// The whole NAL units of a payload; none of a fragment.
fn nal_units(payload: &[u8]) -> NalUnits<'_> {
    match payload.split_first() {
        Some((header, rest)) if kind(*header) == nal::STAP_A => NalUnits::Aggregated(rest),
        Some((header, _)) if matches!(kind(*header), 1..=23) => NalUnits::Single(payload),
        _ => NalUnits::Done,
    }
}

#[derive(Clone, Debug)]
enum NalUnits<'a> {
    Single(&'a [u8]),
    Aggregated(&'a [u8]),
    Done,
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match std::mem::replace(self, NalUnits::Done) {
            NalUnits::Single(unit) => Some(unit),
            NalUnits::Aggregated(sized) => {
                let (len, rest) = sized.split_first_chunk::<2>()?;
                let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
                *self = NalUnits::Aggregated(rest);
                Some(unit)
            }
            NalUnits::Done => None,
        }
    }
}

/// The type in a NAL unit's first byte, and in a fragment's header.
fn kind(byte: u8) -> u8 {
    byte & 0x1f
}

/// A slice header starts with `first_mb_in_slice` as an Exp-Golomb code, in which zero is one set
/// bit (ITU-T H.264 §7.3.3 and §9.1).
fn is_first_slice(slice: u8) -> bool {
    slice & 0x80 != 0
}
