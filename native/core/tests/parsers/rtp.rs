//! RTP headers, padding and header extensions.

use pyforward_core::discard::Discard;
use pyforward_core::ids::{PayloadType, Ssrc};
use pyforward_core::rtp::View;

use super::hex;

/// aiortc: Opus with two contributing sources, four extensions and four bytes of padding.
pub const OPUS: &str = "b2efffff fedcba98 01020304 0000000a 0000000b \
                        bede0003 40 30 22123456 10a8 310309 00 \
                        6f707573207061796c6f6164 e6e9c504";

fn elements(packet: &[u8]) -> Vec<(u8, &[u8])> {
    let view = View::parse(packet).unwrap();
    view.extensions(packet).map(|(id, start, len)| (id, &packet[start..start + len])).collect()
}

/// A packet whose header extension has this profile and data, and no payload.
fn extended(profile: &str, data: &str) -> Vec<u8> {
    let data = hex(data);
    let mut packet = hex("90600001 00000002 00000003");
    packet.extend(hex(profile));
    packet.extend(((data.len() / 4) as u16).to_be_bytes());
    packet.extend(data);
    packet
}

#[test]
fn a_packet_of_aiortc_is_read() {
    let packet = hex(OPUS);
    let view = View::parse(&packet).unwrap();
    assert!(view.marker);
    assert_eq!(view.payload_type, PayloadType(111));
    assert_eq!(view.sequence, 65535);
    assert_eq!(view.timestamp, 0xfedc_ba98);
    assert_eq!(view.ssrc, Ssrc(0x0102_0304));
    assert!(view.has_padding);
    assert_eq!(view.header_len, 36);
    assert_eq!(&packet[view.payload(&packet).unwrap()], b"opus payload");
    assert_eq!(
        elements(&packet),
        [(4, &b"0"[..]), (2, &[0x12, 0x34, 0x56]), (1, &[0xa8]), (3, &[3, 9])]
    );
}

#[test]
fn a_packet_cut_anywhere_is_dropped_or_read() {
    let packet = hex(OPUS);
    for len in 0..packet.len() {
        let cut = &packet[..len];
        let expected = match len {
            0..20 => Err(Discard::RtpShort),
            20..36 => Err(Discard::RtpExtension),
            _ => Ok(36),
        };
        assert_eq!(View::parse(cut).map(|view| view.header_len), expected, "{len} bytes");
        if let Ok(view) = View::parse(cut) {
            let _ = view.payload(cut);
            assert_eq!(view.extensions(cut).count(), 4);
        }
    }
}

#[test]
fn other_versions_are_dropped() {
    for version in [0x00, 0x40, 0xc0] {
        let mut packet = hex(OPUS);
        packet[0] = packet[0] & 0x3f | version;
        assert_eq!(View::parse(&packet), Err(Discard::RtpShort));
    }
}

#[test]
fn padding_is_judged_when_the_payload_is_open_and_not_before() {
    // While it is protected, the last byte is the tag's.
    let sealed = hex("a0600001 00000002 00000003 aabbccdd ff");
    let view = View::parse(&sealed).unwrap();
    assert_eq!(view.payload(&sealed), Err(Discard::RtpPadding));
    for (last_bytes, expected) in [
        ("aabbccdd 00", Err(Discard::RtpPadding)),
        ("aabbccdd 01", Ok(12..16)),
        ("aabb000003", Ok(12..14)),
        ("00000000 05", Ok(12..12)),
        ("00000000 06", Err(Discard::RtpPadding)),
        ("", Err(Discard::RtpPadding)),
    ] {
        let packet = hex(&format!("a0600001 00000002 00000003 {last_bytes}"));
        assert_eq!(view.payload(&packet), expected, "{last_bytes}");
    }
    assert_eq!(view.payload(&sealed[..11]), Err(Discard::RtpShort));
}

#[test]
fn without_the_padding_bit_the_payload_is_the_rest() {
    let packet = hex("80600001 00000002 00000003 aabbcc00");
    let view = View::parse(&packet).unwrap();
    assert_eq!(view.payload(&packet), Ok(12..16));
    assert_eq!(view.payload(&packet[..12]), Ok(12..12));
    assert_eq!(view.extensions(&packet).count(), 0);
}

#[test]
fn one_byte_elements_may_be_padded_in_between() {
    let packet = extended("bede", "10ff 0000 e3 01020304 00 00 00");
    assert_eq!(elements(&packet), [(1, &[0xff][..]), (14, &[1, 2, 3, 4])]);
    let longest = extended("bede", "3f 000102030405060708090a0b0c0d0e0f 000000");
    assert_eq!(elements(&longest), [(3, &hex("000102030405060708090a0b0c0d0e0f")[..])]);
}

#[test]
fn id_15_and_id_0_with_a_length_end_the_one_byte_form() {
    assert_eq!(elements(&extended("bede", "10aa f0bb 20cc 0000")), [(1, &[0xaa][..])]);
    assert_eq!(elements(&extended("bede", "10aa 01bbbb 20cc 00")), [(1, &[0xaa][..])]);
}

#[test]
fn two_byte_elements_may_be_empty_long_and_of_any_id() {
    // aiortc's packing of ids 1, 200 (empty) and 3.
    let packet = extended("1000", "010101 c800 0314 0909090909090909090909090909090909090909 00");
    assert_eq!(elements(&packet), [(1, &[1][..]), (200, &[]), (3, &[9; 20])]);
    // The low four bits of the profile are the application's; 15 is an id like others here.
    let packet = extended("100f", "0f01aa 00 0202bbcc");
    assert_eq!(elements(&packet), [(15, &[0xaa][..]), (2, &[0xbb, 0xcc])]);
}

#[test]
fn an_element_beyond_the_block_ends_it() {
    // The payload behind the block must not become part of an element.
    for (profile, data) in
        [("bede", "10aa 23bb"), ("1000", "0101aa 09"), ("1000", "0101aa00 0205bbbb")]
    {
        let mut packet = extended(profile, data);
        packet.extend([0xee; 32]);
        assert_eq!(elements(&packet), [(1, &[0xaa][..])], "{profile} {data}");
    }
}

#[test]
fn other_profiles_have_no_elements() {
    for profile in ["0000", "bedf", "1010", "c0de", "ffff"] {
        assert_eq!(elements(&extended(profile, "10aa10aa")), [], "{profile}");
    }
}

#[test]
fn elements_stay_inside_a_packet_that_became_shorter() {
    let packet = hex(OPUS);
    let view = View::parse(&packet).unwrap();
    for len in 0..packet.len() {
        for (_, start, size) in view.extensions(&packet[..len]) {
            assert!(start + size <= len);
        }
    }
}
