//! SRTP through its public types: what was sealed opens once, whatever order it comes in; what was
//! tampered with never does and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use pyforward_core::discard::Discard;
use pyforward_core::ids::Ssrc;
use pyforward_core::srtp::{KeyMaterial, Limits, Opener, Profile, Sealer};

const LIMITS: Limits = Limits { max_ssrcs: 4, window: 1_024 };

fn master(profile: Profile, seed: u8) -> KeyMaterial {
    let bytes: Vec<u8> = (0..32).map(|at: u8| at.wrapping_mul(7) ^ seed).collect();
    KeyMaterial::new(profile, &bytes[..profile.key_len()], &bytes[..profile.salt_len()]).unwrap()
}

fn pair(profile: Profile, limits: Limits) -> (Sealer, Opener) {
    let master = master(profile, 0x5a);
    (Sealer::new(profile, &master), Opener::new(profile, &master, limits))
}

fn plain_rtp(ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(&(index as u32).wrapping_mul(3_000).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn sealed_rtp(sealer: &Sealer, profile: Profile, ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut packet = plain_rtp(ssrc, index, payload);
    let len = packet.len();
    packet.resize(len + profile.rtp_overhead(), 0);
    assert_eq!(sealer.seal_rtp(index, &mut packet, 12, len), len + profile.rtp_overhead());
    packet
}

/// Opens a packet with a fixed header, as its own header says.
fn open(opener: &mut Opener, mut packet: Vec<u8>) -> Result<(u64, Vec<u8>), Discard> {
    let sequence = u16::from_be_bytes([packet[2], packet[3]]);
    let ssrc = Ssrc(u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]));
    let opened = opener.open_rtp(&mut packet, 12, ssrc, sequence)?;
    packet.truncate(opened.len);
    Ok((opened.index, packet))
}

fn plain_rtcp(ssrc: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(body);
    packet
}

fn sealed_rtcp(sealer: &mut Sealer, ssrc: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = plain_rtcp(ssrc, body);
    sealer.seal_rtcp(&mut packet);
    packet
}

fn profiles() -> impl Strategy<Value = Profile> {
    prop::sample::select(Profile::ALL.to_vec())
}

proptest! {
    /// A stream that starts anywhere, leaps, loses, repeats and reorders, so that most runs cross
    /// a rollover: each packet opens to what was sealed exactly as a perfect memory would allow.
    #[test]
    fn a_stream_opens_once_in_any_order(
        profile in profiles(),
        start in prop_oneof![0u64..200, 32_000u64..33_500, 65_000u64..65_536],
        // (step to the next index, how late it arrives, whether it comes twice)
        packets in vec((prop_oneof![9 => 1u64..4, 1 => 1u64..12_000], 0u64..60, any::<bool>()), 1..120),
    ) {
        let (sealer, mut opener) = pair(profile, LIMITS);
        let mut index = start;
        let mut arrivals = Vec::new();
        for (at, (step, late, twice)) in packets.into_iter().enumerate() {
            arrivals.push((at as u64 + late, index));
            if twice {
                arrivals.push((at as u64 + late + 1, index));
            }
            index += step;
        }
        arrivals.sort_unstable();
        // Before the first packet, nothing tells more rollovers than one.
        prop_assume!(arrivals[0].1 < 65_536 + 32_768);

        let mut seen = HashSet::new();
        let mut highest = None;
        for (_, index) in arrivals {
            let payload = index.to_be_bytes();
            let packet = sealed_rtp(&sealer, profile, 7, index, &payload);
            let result = open(&mut opener, packet);
            let behind = highest.unwrap_or(0u64).saturating_sub(index);
            if behind >= 1_024 || seen.contains(&index) {
                // Far behind a low number it may be mistaken for one ahead, and then fails its tag.
                prop_assert!(matches!(result, Err(Discard::SrtpReplay | Discard::SrtpAuth)));
                continue;
            }
            if index.saturating_sub(highest.unwrap_or(index)) >= 32_768 && result.is_err() {
                // Half a turn ahead: nothing need tell that from behind.
                continue;
            }
            prop_assert_eq!(result, Ok((index, plain_rtp(7, index, &payload))));
            seen.insert(index);
            highest = highest.max(Some(index));
        }
    }

    /// Every byte of a packet, and no bit of it, may change.
    #[test]
    fn a_forged_bit_is_refused_wherever_it_is(
        profile in profiles(),
        payload in vec(any::<u8>(), 0..80),
        index in 0u64..65_536,
        bit in 0u8..8,
        known in any::<bool>(),
    ) {
        let (sealer, mut opener) = pair(profile, LIMITS);
        if known {
            let first = sealed_rtp(&sealer, profile, 7, index.saturating_sub(1), &payload);
            open(&mut opener, first).unwrap();
        }
        prop_assume!(index > 0 || !known);
        let packet = sealed_rtp(&sealer, profile, 7, index, &payload);
        for at in 0..packet.len() {
            let mut forged = packet.clone();
            forged[at] ^= 1 << bit;
            let refused = open(&mut opener, forged);
            prop_assert!(
                matches!(refused, Err(Discard::SrtpAuth | Discard::SrtpReplay)), "byte {}", at
            );
        }
        for len in 12..packet.len() {
            prop_assert!(open(&mut opener, packet[..len].to_vec()).is_err(), "cut to {}", len);
        }
        prop_assert!(open(&mut opener, packet).is_ok(), "forgeries left something behind");
    }

    #[test]
    fn a_forged_compound_is_refused_wherever_it_is(
        profile in profiles(),
        body in vec(any::<u8>(), 0..80),
        bit in 0u8..8,
    ) {
        let (mut sealer, mut opener) = pair(profile, LIMITS);
        let packet = sealed_rtcp(&mut sealer, 7, &body);
        for at in 0..packet.len() {
            let mut forged = packet.clone();
            forged[at] ^= 1 << bit;
            prop_assert_eq!(opener.open_rtcp(&mut forged), Err(Discard::SrtpAuth), "byte {}", at);
        }
        for len in 0..packet.len() {
            prop_assert!(opener.open_rtcp(&mut packet[..len].to_vec()).is_err(), "cut to {}", len);
        }
        let mut whole = packet;
        let len = opener.open_rtcp(&mut whole).unwrap();
        prop_assert_eq!(&whole[..len], &plain_rtcp(7, &body)[..]);
    }

    #[test]
    fn compounds_open_once_in_any_order(
        profile in profiles(),
        order in Just((0u32..40).collect::<Vec<_>>()).prop_shuffle(),
        senders in vec(0u32..3, 40),
    ) {
        let (mut sealer, mut opener) = pair(profile, LIMITS);
        let packets: Vec<_> =
            (0u32..40).map(|at| sealed_rtcp(&mut sealer, senders[at as usize], &at.to_be_bytes())).collect();
        for at in order {
            let mut packet = packets[at as usize].clone();
            let len = opener.open_rtcp(&mut packet).unwrap();
            prop_assert_eq!(&packet[8..len], at.to_be_bytes());
            let mut again = packets[at as usize].clone();
            prop_assert_eq!(opener.open_rtcp(&mut again), Err(Discard::SrtpReplay));
        }
    }

    #[test]
    fn headers_with_extensions_stay_in_the_clear(
        profile in profiles(),
        header_len in 12usize..80,
        payload in vec(any::<u8>(), 0..40),
    ) {
        let (sealer, mut opener) = pair(profile, LIMITS);
        let mut plain = plain_rtp(7, 9, &vec![0xbe; header_len - 12]);
        plain.extend_from_slice(&payload);
        let mut packet = plain.clone();
        packet.resize(plain.len() + profile.rtp_overhead(), 0);
        let _ = sealer.seal_rtp(9, &mut packet, header_len, plain.len());
        prop_assert_eq!(&packet[..header_len], &plain[..header_len]);
        let opened = opener.open_rtp(&mut packet, header_len, Ssrc(7), 9).unwrap();
        prop_assert_eq!(&packet[..opened.len], &plain[..]);
    }
}

#[test]
fn the_first_packet_may_lie_on_either_side_of_the_first_rollover() {
    for profile in Profile::ALL {
        for first in [0, 1, 32_767, 32_768, 65_535, 65_536, 65_537, 65_536 + 32_767] {
            let (sealer, mut opener) = pair(profile, LIMITS);
            let packet = sealed_rtp(&sealer, profile, 7, first, b"payload");
            assert_eq!(open(&mut opener, packet).unwrap().0, first);
            // What was sent right before it and after it opens too.
            for index in [first.checked_sub(1), Some(first + 1)].into_iter().flatten() {
                let packet = sealed_rtp(&sealer, profile, 7, index, b"payload");
                assert_eq!(open(&mut opener, packet).unwrap().0, index, "next to {first}");
            }
        }
    }
}

#[test]
fn a_window_forgets_what_lies_before_it() {
    for profile in Profile::ALL {
        let (sealer, mut opener) = pair(profile, LIMITS);
        for index in [5_000, 5_000 - 1_023] {
            let packet = sealed_rtp(&sealer, profile, 7, index, b"payload");
            assert!(open(&mut opener, packet).is_ok());
        }
        let packet = sealed_rtp(&sealer, profile, 7, 5_000 - 1_024, b"payload");
        assert_eq!(open(&mut opener, packet), Err(Discard::SrtpReplay));
    }
}

/// Forgeries of any number of SSRCs take no room; authentic ones take what they may.
#[test]
fn sources_are_made_by_authentic_packets_and_bounded() {
    for profile in Profile::ALL {
        let (sealer, mut opener) = pair(profile, LIMITS);
        let stranger = Sealer::new(profile, &master(profile, 0xa5));
        for ssrc in 100..200 {
            let packet = sealed_rtp(&stranger, profile, ssrc, 1, b"payload");
            assert_eq!(open(&mut opener, packet), Err(Discard::SrtpAuth));
        }
        for ssrc in 0..4 {
            let packet = sealed_rtp(&sealer, profile, ssrc, 1, b"payload");
            assert!(open(&mut opener, packet).is_ok());
        }
        let packet = sealed_rtp(&sealer, profile, 4, 1, b"payload");
        assert_eq!(open(&mut opener, packet), Err(Discard::RtpUnknownSsrc));
        let packet = sealed_rtp(&sealer, profile, 3, 2, b"payload");
        assert!(open(&mut opener, packet).is_ok(), "those it knows go on");
    }
}

#[test]
fn senders_of_compounds_are_made_by_authentic_ones_and_bounded() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = pair(profile, LIMITS);
        let mut stranger = Sealer::new(profile, &master(profile, 0xa5));
        for ssrc in 100..200 {
            let mut packet = sealed_rtcp(&mut stranger, ssrc, b"body");
            assert_eq!(opener.open_rtcp(&mut packet), Err(Discard::SrtpAuth));
        }
        for ssrc in 0..4 {
            assert!(opener.open_rtcp(&mut sealed_rtcp(&mut sealer, ssrc, b"body")).is_ok());
        }
        let mut packet = sealed_rtcp(&mut sealer, 4, b"body");
        assert_eq!(opener.open_rtcp(&mut packet), Err(Discard::RtpUnknownSsrc));
    }
}

/// Sealing is a function of bytes and index: a repeat is byte-identical, another index is not.
#[test]
fn a_repeat_is_byte_identical() {
    for profile in Profile::ALL {
        let (sealer, _) = pair(profile, LIMITS);
        let packet = sealed_rtp(&sealer, profile, 7, 41, b"payload");
        assert_eq!(sealed_rtp(&sealer, profile, 7, 41, b"payload"), packet);
        let later = sealed_rtp(&sealer, profile, 7, 41 + 65_536, b"payload");
        assert_ne!(later[12..], packet[12..]);
    }
}

/// RTP keys do not open RTCP and the other way round, and each direction has its own.
#[test]
fn a_compound_is_no_packet() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = pair(profile, LIMITS);
        let compound = sealed_rtcp(&mut sealer, 7, &[0; 40]);
        assert_eq!(open(&mut opener, compound), Err(Discard::SrtpAuth));
    }
}
