//! VP9 (RFC 9628): the payload descriptor alone tells where a keyframe starts.

/// The packet starts the lowest spatial layer of a picture that depends on no other picture.
pub(super) fn starts_keyframe(payload: &[u8]) -> bool {
    let Some((&first, rest)) = payload.split_first() else { return false };
    // I P L F B E V Z (RFC 9628 §4.2)
    let has_picture_id = first & 0x80 != 0;
    let is_predicted = first & 0x40 != 0;
    let has_layers = first & 0x20 != 0;
    let starts_frame = first & 0x08 != 0;
    if is_predicted || !starts_frame {
        return false;
    }
    let picture_id = match (has_picture_id, rest.first()) {
        (false, _) => 0,
        (true, Some(first)) if first & 0x80 != 0 => 2,
        (true, _) => 1,
    };
    // A picture of several spatial layers is one frame each; only the lowest is a keyframe.
    // Between TID with U and D stands the layer's id: TTTUSSSD.
    !has_layers || rest.get(picture_id).is_some_and(|layers| (layers >> 1) & 0x07 == 0)
}
