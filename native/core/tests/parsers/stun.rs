//! STUN binding requests and their answers.

use std::net::SocketAddr;

use pyforward_core::discard::Discard;
use pyforward_core::stun::{
    BindingRequest, ErrorCode, IntegrityKey, MAX_UNKNOWN, error, is_stun, parse, success,
};

use super::hex;

/// RFC 5769 §2.1, with its non-zero padding, its password and its username.
const RFC5769_REQUEST: &str = "\
    00010058 2112a442 b7e7a701bc34d686fa87dfae \
    80220010 5354554e207465737420636c69656e74 00240004 6e0001ff 80290008 932ff9b151263b36 \
    00060009 6576746a3a68367659202020 00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 \
    80280004 e57a3bcf";
pub const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
/// aioice: a check that nominates, with the same password.
const AIOICE_REQUEST: &str = "\
    00010048 2112a442 000102030405060708090a0b 0006000b 3030616263643a7065657200 \
    00240004 6e7f1eff 802a0008 1122334455667788 00250000 \
    00080014 78d53a18d7ee75b0f8c5a60aaedb172f6fdf8193 80280004 06322251";
/// RFC 5769 §2.2, a response.
pub const RFC5769_RESPONSE: &str = "\
    0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 \
    00200008 0001a147e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 \
    80280004 c07d4c96";
const TRANSACTION: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

const USERNAME: u16 = 0x0006;
const INTEGRITY: u16 = 0x0008;
const FINGERPRINT: u16 = 0x8028;

/// The requests, for the mutations.
pub fn samples() -> Vec<Vec<u8>> {
    vec![hex(RFC5769_REQUEST), hex(AIOICE_REQUEST), request(&[(0x7ff0, b"abc")], &[])]
}

fn key() -> IntegrityKey {
    IntegrityKey::new(PASSWORD)
}

/// Appends an attribute and counts it into the message's length.
fn append(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    set_length(message, 0);
}

/// Sets the message's length as if `more` bytes followed.
fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() + more - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// HMAC-SHA1 by ring, over the message with a length that counts the attribute in.
fn append_integrity(message: &mut Vec<u8>) {
    set_length(message, 24);
    let algorithm = ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
    let tag = ring::hmac::sign(&ring::hmac::Key::new(algorithm, PASSWORD.as_bytes()), message);
    append(message, INTEGRITY, tag.as_ref());
}

fn append_fingerprint(message: &mut Vec<u8>) {
    set_length(message, 8);
    let crc = crc32fast::hash(message) ^ 0x5354_554e;
    append(message, FINGERPRINT, &crc.to_be_bytes());
}

/// Makes FINGERPRINT right again in a message that ends with one.
pub fn mend_fingerprint(message: &mut Vec<u8>) {
    message.truncate(message.len().saturating_sub(8));
    message.truncate(message.len() / 4 * 4);
    if message.len() >= 20 {
        append_fingerprint(message);
    }
}

/// A request with a username and these attributes before and behind MESSAGE-INTEGRITY.
fn request(before: &[(u16, &[u8])], behind: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = [&hex("00010000 2112a442")[..], &TRANSACTION].concat();
    append(&mut message, USERNAME, b"local:remote");
    before.iter().for_each(|(kind, value)| append(&mut message, *kind, value));
    append_integrity(&mut message);
    behind.iter().for_each(|(kind, value)| append(&mut message, *kind, value));
    append_fingerprint(&mut message);
    message
}

#[track_caller]
fn verified(message: &[u8]) -> BindingRequest<'_> {
    let request = parse(message).unwrap();
    assert_eq!(request.verify(&key()), Ok(()));
    request
}

#[test]
fn the_request_of_rfc_5769_is_read_and_verified() {
    let message = hex(RFC5769_REQUEST);
    let request = verified(&message);
    assert_eq!(request.transaction[..], hex("b7e7a701bc34d686fa87dfae"));
    assert_eq!((request.local_ufrag, request.remote_ufrag), ("evtj", "h6vY"));
    assert_eq!(request.priority, Some(0x6e00_01ff));
    assert_eq!(request.controlled, Some(0x932f_f9b1_5126_3b36));
    assert_eq!(request.controlling, None);
    assert!(!request.use_candidate);
    assert!(request.unknown.is_empty());
    for wrong in ["", "VOkJxbRl1RmTxUk/WvJxBu", "vOkJxbRl1RmTxUk/WvJxBt"] {
        assert_eq!(request.verify(&IntegrityKey::new(wrong)), Err(Discard::StunIntegrity));
    }
}

#[test]
fn a_request_of_aioice_is_read_and_verified() {
    let message = hex(AIOICE_REQUEST);
    let request = verified(&message);
    assert_eq!(request.transaction, TRANSACTION);
    assert_eq!((request.local_ufrag, request.remote_ufrag), ("00abcd", "peer"));
    assert_eq!(request.priority, Some(0x6e7f_1eff));
    assert_eq!(request.controlling, Some(0x1122_3344_5566_7788));
    assert!(request.use_candidate);
}

#[test]
fn a_request_of_ffmpeg_8_0_has_a_username_alone() {
    // FFmpeg 8.0 sends neither PRIORITY nor ICE-CONTROLLING.
    let message = request(&[], &[]);
    let request = verified(&message);
    assert_eq!((request.priority, request.controlling, request.controlled), (None, None, None));
}

#[test]
fn long_passwords_are_hashed_into_the_key() {
    for length in [0, 22, 63, 64, 65, 256] {
        let password = "p".repeat(length);
        let mut ours = Vec::new();
        success(TRANSACTION, ADDRESS_4.parse().unwrap(), &IntegrityKey::new(&password), &mut ours);
        let message = stun_types::message::Message::from_bytes(&ours).unwrap();
        let credentials = stun_types::message::ShortTermCredentials::new(password).into();
        assert!(message.validate_integrity(&credentials).is_ok(), "{length} bytes");
    }
}

#[test]
fn requests_cut_or_flipped_anywhere_are_dropped() {
    for message in samples() {
        for len in 0..message.len() {
            assert_eq!(parse(&message[..len]).err(), Some(Discard::StunMalformed), "{len} bytes");
        }
        let mut broken = message.clone();
        for position in 0..message.len() * 8 {
            broken[position / 8] ^= 1 << (position % 8);
            assert!(parse(&broken).is_err(), "bit {position}");
            // A stranger can mend FINGERPRINT, but not MESSAGE-INTEGRITY.
            let mut mended = broken.clone();
            mend_fingerprint(&mut mended);
            if mended != message {
                assert!(parse(&mended).and_then(|r| r.verify(&key())).is_err(), "bit {position}");
            }
            broken[position / 8] ^= 1 << (position % 8);
        }
    }
}

#[test]
fn fingerprint_is_required_right_and_last() {
    let good = request(&[], &[]);
    let mut without = good[..good.len() - 8].to_vec();
    set_length(&mut without, 0);
    assert_eq!(parse(&without).err(), Some(Discard::StunFingerprint));
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(parse(&wrong).err(), Some(Discard::StunFingerprint));
    let mut followed = good.clone();
    append(&mut followed, 0x8022, b"name");
    assert_eq!(parse(&followed).err(), Some(Discard::StunFingerprint));
    let mut short = good[..good.len() - 8].to_vec();
    append(&mut short, FINGERPRINT, &[]);
    assert_eq!(parse(&short).err(), Some(Discard::StunFingerprint));
}

#[test]
fn integrity_is_required() {
    let mut message = hex("00010000 2112a442 000102030405060708090a0b");
    append(&mut message, USERNAME, b"local:remote");
    append_fingerprint(&mut message);
    let request = parse(&message).unwrap();
    assert_eq!(request.verify(&key()), Err(Discard::StunIntegrity));
}

#[test]
fn behind_integrity_only_fingerprint_counts() {
    let late: [(u16, &[u8]); 5] = [
        (0x0025, b""),
        (0x0024, &[0; 4]),
        (0x7ff0, b"must be understood"),
        (USERNAME, b"other:one"),
        (INTEGRITY, &[0; 20]),
    ];
    let message = request(&[], &late);
    let request = verified(&message);
    assert_eq!(request.local_ufrag, "local");
    assert!(!request.use_candidate && request.priority.is_none() && request.unknown.is_empty());
}

#[test]
fn sha256_integrity_is_passed_over() {
    assert!(verified(&request(&[(0x001c, &[0; 32])], &[])).unknown.is_empty());
    verified(&request(&[], &[(0x001c, &[0; 32])]));
}

#[test]
fn of_attributes_that_come_twice_the_first_counts() {
    let message = request(
        &[
            (USERNAME, b"other:one"),
            (0x0024, &[0, 0, 0, 1]),
            (0x0024, &[0, 0, 0, 2]),
            (0x802a, &[1; 8]),
            (0x802a, &[2; 8]),
            (0x8029, &[3; 8]),
            (0x8029, &[4; 8]),
        ],
        &[],
    );
    let request = verified(&message);
    assert_eq!((request.local_ufrag, request.priority), ("local", Some(1)));
    let tie_breakers = (Some(0x0101_0101_0101_0101), Some(0x0303_0303_0303_0303));
    assert_eq!((request.controlling, request.controlled), tie_breakers);
}

#[test]
fn unknown_attributes_that_must_be_understood_are_named_once_and_bounded() {
    let optional_or_known: [(u16, &[u8]); 4] =
        [(0x8022, b"name"), (0xc057, &[0; 4]), (0x0014, b"realm"), (0x0020, &[0; 8])];
    assert!(verified(&request(&optional_or_known, &[])).unknown.is_empty());
    let twice = request(&[(0x7ff0, b""), (0x0026, b"x"), (0x7ff0, b"y")], &[]);
    assert_eq!(verified(&twice).unknown[..], [0x7ff0, 0x0026]);
    let many: Vec<(u16, &[u8])> = (0x7000..0x7020).map(|kind| (kind, &b""[..])).collect();
    assert_eq!(verified(&request(&many, &[])).unknown.len(), MAX_UNKNOWN);
}

#[test]
fn what_is_no_binding_request_is_told_apart() {
    assert_eq!(parse(&hex(RFC5769_RESPONSE)).err(), Some(Discard::StunUnexpected));
    let good = request(&[], &[]);
    let with_type = |message_type: u16| {
        let mut message = good.clone();
        message[..2].copy_from_slice(&message_type.to_be_bytes());
        mend_fingerprint(&mut message);
        parse(&message).err()
    };
    assert_eq!(with_type(0x0001), None);
    for unexpected in [0x0011, 0x0101, 0x0111] {
        assert_eq!(with_type(unexpected), Some(Discard::StunUnexpected));
    }
    for other in [0x0000, 0x0002, 0x0003, 0x0080, 0x4001, 0x8001] {
        assert_eq!(with_type(other), Some(Discard::StunMalformed), "{other:#06x}");
    }
}

#[test]
fn broken_lengths_and_values_are_malformed() {
    let good = request(&[], &[]);
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        parse(&message).err()
    };
    let malformed = Some(Discard::StunMalformed);
    assert_eq!(changed(|m| m[4] ^= 1), malformed, "magic cookie");
    assert_eq!(changed(|m| m.push(0)), malformed, "a byte too many");
    assert_eq!(changed(|m| m.extend([0; 4])), malformed, "a word too many");
    assert_eq!(changed(|m| m[3] -= 4), malformed, "length a word short");
    assert_eq!(changed(|m| m[3] += 4), malformed, "length a word long");
    assert_eq!(changed(|m| m[22] = 0xff), malformed, "attribute beyond the message");
    assert_eq!(changed(|m| m.truncate(20)), malformed, "no attributes where some were announced");
    let values: [(u16, &[u8]); 7] = [
        (0x0024, &[0; 3]),
        (0x0024, &[0; 8]),
        (0x8029, &[0; 4]),
        (0x802a, &[]),
        (INTEGRITY, &[0; 19]),
        (INTEGRITY, &[0; 32]),
        (USERNAME, &[0xff, 0xfe]),
    ];
    for value in values {
        assert_eq!(parse(&request(&[value], &[])).err(), malformed, "{value:x?}");
    }
    for username in [None, Some(&b"nocolon"[..]), Some(b"")] {
        let mut message = hex("00010000 2112a442 000102030405060708090a0b");
        username.iter().for_each(|name| append(&mut message, USERNAME, name));
        append_integrity(&mut message);
        append_fingerprint(&mut message);
        assert_eq!(parse(&message).err(), malformed, "{username:?}");
    }
    let mut empty = hex("00010000 2112a442 000102030405060708090a0b");
    assert_eq!(parse(&empty).err(), Some(Discard::StunFingerprint));
    append_fingerprint(&mut empty);
    assert_eq!(parse(&empty).err(), malformed);
}

const ADDRESS_4: &str = "192.0.2.1:32853";
const ADDRESS_6: &str = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
const ADDRESS_4_IN_6: &str = "[::ffff:192.0.2.1]:32853";

#[test]
fn success_equals_aioices_for_both_families() {
    let v4 = "0101002c 2112a442 000102030405060708090a0b 00200008 0001a147e112a643 \
              00080014 83ab05ec649668818f4f84a6343ba180534660c1 80280004 f75882a6";
    let v6 = "01010038 2112a442 000102030405060708090a0b \
              00200014 0002a1470113a9fa1235547b041424344c5c6c7c \
              00080014 c80c77a4dcace3673ff295c2cf08c02ff2222fc5 80280004 a70be045";
    for (address, expected) in [(ADDRESS_4, v4), (ADDRESS_6, v6), (ADDRESS_4_IN_6, v4)] {
        let mapped: SocketAddr = address.parse().unwrap();
        let mut out = b"before".to_vec();
        success(TRANSACTION, mapped, &key(), &mut out);
        assert_eq!(out, [b"before", &hex(expected)[..]].concat(), "{address}");
    }
}

#[test]
fn a_role_conflict_equals_aioices() {
    let expected = "01110038 2112a442 000102030405060708090a0b \
                    00090011 00000457 526f6c6520436f6e666c696374 000000 \
                    00080014 557985791a81a5cd32d0414885259fd210920512 80280004 2eba99c0";
    let mut out = Vec::new();
    error(TRANSACTION, ErrorCode::RoleConflict, &[0x7ff0], Some(&key()), &mut out);
    assert_eq!(out, hex(expected));
}

#[test]
fn errors_are_read_by_stun_types() {
    use stun_types::attribute::{self, AttributeStaticType, AttributeType};
    use stun_types::message::{Message, ShortTermCredentials};

    for (code, number) in [
        (ErrorCode::BadRequest, 400),
        (ErrorCode::Unauthenticated, 401),
        (ErrorCode::UnknownAttribute, 420),
        (ErrorCode::RoleConflict, 487),
    ] {
        for signed in [None, Some(key())] {
            let mut out = Vec::new();
            error(TRANSACTION, code, &[0x7ff0, 0x0026, 0x7001], signed.as_ref(), &mut out);
            let message = Message::from_bytes(&out).unwrap();
            assert!(message.has_class(stun_types::message::MessageClass::Error));
            assert_eq!(message.transaction_id(), u128_of(TRANSACTION).into());
            assert_eq!(message.attribute::<attribute::ErrorCode>().unwrap().code(), number);
            assert!(message.has_attribute(attribute::Fingerprint::TYPE));
            let credentials = ShortTermCredentials::new(PASSWORD.to_owned()).into();
            assert_eq!(message.validate_integrity(&credentials).is_ok(), signed.is_some());
            let unknown = message.attribute::<attribute::UnknownAttributes>().ok();
            assert_eq!(unknown.is_some(), number == 420);
            if let Some(unknown) = unknown {
                for kind in [0x7ff0, 0x0026, 0x7001] {
                    assert!(unknown.has_attribute(AttributeType::new(kind)));
                }
            }
        }
    }
}

fn u128_of(transaction: [u8; 12]) -> u128 {
    transaction.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[test]
fn stun_is_told_from_dtls_and_rtp_by_its_first_byte() {
    for first in 0..=u8::MAX {
        assert_eq!(is_stun(&[first, 0]), first <= 3);
    }
    assert!(!is_stun(&[]));
}

#[test]
fn keys_do_not_show_in_debug_output() {
    assert_eq!(format!("{:?}", key()), "IntegrityKey(..)");
}
