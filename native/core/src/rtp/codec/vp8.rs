//! VP8 (RFC 7741): the payload descriptor and the first byte of the frame behind it.

/// The packet starts a keyframe.
pub(super) fn starts_keyframe(payload: &[u8]) -> bool {
    // The frame's first byte has P, the inverse key frame flag, as its lowest bit
    // (RFC 7741 §4.3).
    frame_start(payload).and_then(<[u8]>::first).is_some_and(|first| first & 0x01 == 0)
}

/// What lies behind the payload descriptor (RFC 7741 §4.2), if that is the start of a frame: the
/// start (S) of the first partition (PID 0).
fn frame_start(payload: &[u8]) -> Option<&[u8]> {
    let (&first, rest) = payload.split_first()?;
    let starts_partition = first & 0x10 != 0;
    let partition = first & 0x07;
    if !starts_partition || partition != 0 {
        return None;
    }
    let extended = first & 0x80 != 0;
    if extended { behind_extension(rest) } else { Some(rest) }
}

/// Skips the descriptor's extension: X says that there is one, I, L, T and K what is in it.
fn behind_extension(descriptor: &[u8]) -> Option<&[u8]> {
    let (&flags, rest) = descriptor.split_first()?;
    let has_picture_id = flags & 0x80 != 0;
    let has_tl0_pic_idx = flags & 0x40 != 0;
    let has_tid_or_keyidx = flags & 0x30 != 0;
    let picture_id = match (has_picture_id, rest.first()) {
        (false, _) => 0,
        (true, Some(first)) if first & 0x80 != 0 => 2,
        (true, _) => 1,
    };
    rest.get(picture_id + usize::from(has_tl0_pic_idx) + usize::from(has_tid_or_keyidx)..)
}
