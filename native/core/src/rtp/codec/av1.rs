//! AV1 (RTP Payload Format For AV1, version 1.0): the aggregation header, and the types of the
//! OBUs that start in the packet.

use super::Inspection;

/// OBU type of a sequence header (AV1 bitstream specification §6.2.2).
const SEQUENCE_HEADER: u8 = 1;

/// Looks at one payload. N marks the first packet of a coded video sequence, which starts with a
/// keyframe (AV1 RTP §4.4); keyframes inside a sequence are only visible in the dependency
/// descriptor.
pub(super) fn inspect(payload: &[u8]) -> Inspection {
    let Some((&header, rest)) = payload.split_first() else { return Inspection::default() };
    let aggregation = Aggregation {
        continues: header & 0x80 != 0,
        is_continued: header & 0x40 != 0,
        count: (header >> 4) & 0x03,
    };
    Inspection {
        keyframe: header & 0x08 != 0 && !aggregation.continues && !rest.is_empty(),
        parameter_sets: has_sequence_header(&aggregation, rest),
    }
}

/// Z, Y and W of the aggregation header.
struct Aggregation {
    /// The first element continues an OBU of the packet before.
    continues: bool,
    /// The last element is continued in the next packet.
    is_continued: bool,
    /// How many elements there are; 0 when each one tells its length.
    count: u8,
}

fn has_sequence_header(aggregation: &Aggregation, mut rest: &[u8]) -> bool {
    let mut index = 0_u8;
    while !rest.is_empty() {
        index = index.saturating_add(1);
        // Only the last of a counted row has no length (AV1 RTP §4.3).
        let element = if index == aggregation.count {
            std::mem::take(&mut rest)
        } else {
            let Some((len, behind)) = leb128(rest) else { return false };
            let Some((element, behind)) = behind.split_at_checked(len) else { return false };
            rest = behind;
            element
        };
        let is_part =
            (index == 1 && aggregation.continues) || (rest.is_empty() && aggregation.is_continued);
        let starts_one =
            element.first().is_some_and(|first| (first >> 3) & 0x0f == SEQUENCE_HEADER);
        if !is_part && starts_one {
            return true;
        }
    }
    false
}

/// An unsigned LEB128 number (AV1 bitstream specification §4.10.5), of at most 32 bits.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (index * 7);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}
