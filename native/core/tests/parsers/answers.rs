//! STUN from the other side: the requests that we write and the answers to them, against
//! `stun-types` and RFC 5769.

use std::net::SocketAddr;

use pyforward_core::discard::Discard;
use pyforward_core::stun::{
    Check, ErrorCode, IntegrityKey, error, is_response, parse, parse_response, request, success,
};
use stun_types::attribute::{self, AttributeStaticType, AttributeType};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageClass, MessageType, MessageWriteVec,
    ShortTermCredentials,
};
use stun_types::prelude::{MessageWrite, MessageWriteExt};

use super::hex;
use super::stun::{PASSWORD, RFC5769_RESPONSE, mend_fingerprint};

const TRANSACTION: [u8; 12] = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
/// RFC 5769 §2.3, an answer with an IPv6 address.
const RFC5769_RESPONSE_V6: &str = "\
    01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 \
    00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9 \
    00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c";

fn key() -> IntegrityKey {
    IntegrityKey::new(PASSWORD)
}

fn credentials() -> stun_types::message::MessageIntegrityCredentials {
    ShortTermCredentials::new(PASSWORD.to_owned()).into()
}

fn number(transaction: [u8; 12]) -> u128 {
    transaction.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// Answers of ours, of `stun-types` and of RFC 5769, for the mutations.
pub fn samples() -> Vec<Vec<u8>> {
    let mut unsigned = Vec::new();
    error(TRANSACTION, ErrorCode::BadRequest, &[], None, &mut unsigned);
    let mut unknown = Vec::new();
    error(TRANSACTION, ErrorCode::UnknownAttribute, &[0x7ff0, 0x7ff1], Some(&key()), &mut unknown);
    let theirs = [theirs(None, true), theirs(Some(487), true), theirs(Some(699), false)];
    let rfc = [hex(RFC5769_RESPONSE), hex(RFC5769_RESPONSE_V6)];
    rfc.into_iter().chain(theirs).chain([unsigned, unknown]).collect()
}

/// An answer that `stun-types` wrote: a success, or an error with this code.
fn theirs(code: Option<u16>, signed: bool) -> Vec<u8> {
    let class = if code.is_none() { MessageClass::Success } else { MessageClass::Error };
    let kind = MessageType::from_class_method(class, BINDING);
    let transaction = number(TRANSACTION).into();
    let mut message = Message::builder(kind, transaction, MessageWriteVec::new());
    message.add_attribute(&attribute::Software::new("another").unwrap()).unwrap();
    if let Some(code) = code {
        let code = attribute::ErrorCode::builder(code).reason("because").build().unwrap();
        message.add_attribute(&code).unwrap();
    } else {
        let mapped: SocketAddr = "192.0.2.1:32853".parse().unwrap();
        let mapped = attribute::XorMappedAddress::new(mapped, transaction);
        message.add_attribute(&mapped).unwrap();
    }
    if signed {
        message.add_message_integrity(&credentials(), IntegrityAlgorithm::Sha1).unwrap();
    }
    message.add_fingerprint().unwrap();
    message.finish()
}

#[test]
fn the_answers_of_rfc_5769_are_read_and_verified() {
    for response in [RFC5769_RESPONSE, RFC5769_RESPONSE_V6] {
        let message = hex(response);
        assert!(is_response(&message));
        let response = parse_response(&message).unwrap();
        assert_eq!(response.transaction[..], hex("b7e7a701bc34d686fa87dfae"));
        assert_eq!((response.error, response.verify(&key())), (None, Ok(())));
        let wrong = IntegrityKey::new("VOkJxbRl1RmTxUk/WvJxBu");
        assert_eq!(response.verify(&wrong), Err(Discard::StunIntegrity));
    }
}

#[test]
fn a_request_of_ours_is_read_by_stun_types_and_by_us() {
    for controlling in [true, false] {
        for use_candidate in [true, false] {
            let check = Check {
                username: "theirs:ours",
                priority: 0x6eff_ffff,
                controlling,
                tie_breaker: 0x1122_3344_5566_7788,
                use_candidate,
            };
            let mut bytes = Vec::new();
            request(TRANSACTION, &check, &key(), &mut bytes);

            let message = Message::from_bytes(&bytes).unwrap();
            assert!(message.has_class(MessageClass::Request) && message.has_method(BINDING));
            assert_eq!(message.transaction_id(), number(TRANSACTION).into());
            assert_eq!(
                message.attribute::<attribute::Username>().unwrap().username(),
                "theirs:ours"
            );
            assert!(message.validate_integrity(&credentials()).is_ok());
            assert!(message.has_attribute(attribute::Fingerprint::TYPE));
            let value = |kind| {
                message.raw_attribute(AttributeType::new(kind)).map(|raw| raw.value.to_vec())
            };
            assert_eq!(value(0x0024), Some(check.priority.to_be_bytes().to_vec()));
            let (role, other) = if controlling { (0x802a, 0x8029) } else { (0x8029, 0x802a) };
            assert_eq!(value(role), Some(check.tie_breaker.to_be_bytes().to_vec()));
            assert_eq!(value(other), None);
            assert_eq!(value(0x0025), use_candidate.then(Vec::new));

            let read = parse(&bytes).unwrap();
            assert_eq!(read.verify(&key()), Ok(()));
            assert_eq!((read.priority, read.use_candidate), (Some(0x6eff_ffff), use_candidate));
            assert_eq!(read.controlling, controlling.then_some(check.tie_breaker));
            assert_eq!(read.controlled, (!controlling).then_some(check.tie_breaker));
            assert!(!is_response(&bytes) && read.unknown.is_empty());
            assert_eq!(parse_response(&bytes).err(), Some(Discard::StunUnexpected));
        }
    }
}

#[test]
fn answers_of_stun_types_are_read() {
    for code in [None, Some(300), Some(400), Some(420), Some(487), Some(599), Some(699)] {
        for signed in [true, false] {
            let message = theirs(code, signed);
            let response = parse_response(&message).unwrap();
            assert_eq!((response.transaction, response.error), (TRANSACTION, code));
            assert_eq!(response.verify(&key()).is_ok(), signed);
            assert_eq!(parse(&message).err(), Some(Discard::StunUnexpected));
        }
    }
}

#[test]
fn an_error_without_a_code_is_malformed_and_reserved_bits_are_passed_over() {
    let coded = |value: [u8; 4]| {
        let mut message = theirs(Some(487), true);
        let at = message.windows(4).position(|four| four == [0, 0, 4, 87]).unwrap();
        message[at..at + 4].copy_from_slice(&value);
        mend_fingerprint(&mut message);
        parse_response(&message).map(|response| response.error).map_err(|_| ())
    };
    assert_eq!(coded([0, 0, 4, 87]), Ok(Some(487)));
    assert_eq!(coded([0xff, 0xff, 0xfc, 87]), Ok(Some(487)));
    for wrong in [[0, 0, 2, 87], [0, 0, 7, 87], [0, 0, 0, 0], [0, 0, 4, 100], [0, 0, 4, 255]] {
        assert_eq!(coded(wrong), Err(()), "{wrong:?}");
    }
    let mut message = theirs(None, true);
    message[..2].copy_from_slice(&[0x01, 0x11]);
    mend_fingerprint(&mut message);
    assert_eq!(parse_response(&message).err(), Some(Discard::StunMalformed));
}

#[test]
fn what_is_cut_off_or_changed_is_no_answer() {
    for sample in samples() {
        for end in 0..sample.len() {
            assert!(parse_response(&sample[..end]).is_err());
        }
        for at in 0..sample.len() {
            let mut changed = sample.clone();
            changed[at] ^= 0x10;
            assert!(parse_response(&changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn an_answer_of_ours_to_a_peer_is_what_we_would_take() {
    let mut bytes = Vec::new();
    success(TRANSACTION, "[2001:db8::1]:9".parse().unwrap(), &key(), &mut bytes);
    let response = parse_response(&bytes).unwrap();
    assert_eq!((response.error, response.verify(&key())), (None, Ok(())));
    for (code, number) in [(ErrorCode::UnknownAttribute, 420), (ErrorCode::RoleConflict, 487)] {
        bytes.clear();
        error(TRANSACTION, code, &[0x7ff0], Some(&key()), &mut bytes);
        let response = parse_response(&bytes).unwrap();
        assert_eq!((response.error, response.verify(&key())), (Some(number), Ok(())));
    }
}
