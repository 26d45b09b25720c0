//! Published vectors, from `tests/vectors/srtp.ini`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use super::cm::Cm;
use super::kdf::{self, SessionKeys, Use};
use super::transform::Transform;
use super::{KeyMaterial, Limits, Opener, Profile, Sealer, rtcp_ssrc, rtp_ssrc};
use crate::ids::Ssrc;

const VECTORS: &str = include_str!("../../../../tests/vectors/srtp.ini");

type Section = HashMap<&'static str, Vec<u8>>;

/// The sections of a kind, at least one.
fn sections(kind: &str) -> Vec<(&'static str, Section)> {
    let mut sections: Vec<(&str, Section)> = Vec::new();
    for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => sections.push((name, Section::new())),
            None => {
                let (key, value) = line.split_once('=').unwrap();
                sections.last_mut().unwrap().1.insert(key.trim(), unhex(value.trim()));
            }
        }
    }
    sections.retain(|(name, _)| name.split_once(' ').unwrap().0 == kind);
    assert!(!sections.is_empty(), "no vectors of {kind}");
    sections
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn front<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array[..bytes.len()].copy_from_slice(bytes);
    array
}

fn gcm_keys(section: &Section) -> (Profile, SessionKeys) {
    let profile = match section["key"].len() {
        16 => Profile::AeadAes128Gcm,
        _ => Profile::AeadAes256Gcm,
    };
    let keys =
        SessionKeys { key: front(&section["key"]), auth: [0; 20], salt: front(&section["salt"]) };
    (profile, keys)
}

/// The key derivation's own salt has 14 bytes with either key length, as no profile of ours does
/// for 256 bits; so the material is put together here.
#[test]
fn key_derivation() {
    for (name, section) in sections("kdf") {
        let master = KeyMaterial {
            profile: Profile::Aes128CmSha1_80,
            key: section["master_key"].as_slice().try_into().unwrap(),
            salt: section["master_salt"].as_slice().try_into().unwrap(),
        };
        let keys = kdf::derive(&master, Use::Rtp);
        assert_eq!(keys.key[..section["key"].len()], section["key"], "{name}");
        assert_eq!(keys.auth[..], section["auth"], "{name}");
        assert_eq!(keys.salt[..], section["salt"], "{name}");
    }
}

/// A payload of zeros is sealed into the key stream itself.
#[test]
fn counter_mode_key_stream() {
    for (name, section) in sections("keystream") {
        let keys = SessionKeys {
            key: front(&section["key"]),
            auth: [0; 20],
            salt: front(&section["salt"]),
        };
        let mut packet = vec![0u8; 12 + 0xff02 * 16 + 10];
        let len = packet.len() - 10;
        assert_eq!(Cm::new(&keys).seal_rtp(0, 0, &mut packet, 12, len), Some(len + 10));
        let stream = &packet[12..len];
        assert_eq!(stream[..48], section["first"], "{name}");
        assert_eq!(stream[0xfeff * 16..], section["from_feff"], "{name}");
    }
}

#[test]
fn gcm_packets_with_session_keys() {
    for (name, section) in sections("session_rtp") {
        let (profile, keys) = gcm_keys(&section);
        let transform = Transform::keyed(profile, &keys);
        let (plain, sealed) = (&section["plain"], &section["sealed"]);
        let ssrc = rtp_ssrc(plain).unwrap();
        let index = u64::from(u16::from_be_bytes([plain[2], plain[3]]));
        let mut packet = plain.clone();
        packet.resize(sealed.len(), 0);
        let len = transform.seal_rtp(ssrc, index, &mut packet, 12, plain.len());
        assert_eq!((len, &packet), (Some(sealed.len()), sealed), "{name}");
        let len = transform.open_rtp(ssrc, index, &mut packet, 12).unwrap();
        assert_eq!(packet[..len], plain[..], "{name}");
    }
}

#[test]
fn gcm_compounds_with_session_keys() {
    for (name, section) in sections("session_rtcp") {
        let (profile, keys) = gcm_keys(&section);
        let transform = Transform::keyed(profile, &keys);
        let (plain, sealed) = (&section["plain"], &section["sealed"]);
        let ssrc = rtcp_ssrc(plain).unwrap();
        let index = u32::from_be_bytes(front(&section["index"]));
        let mut packet = plain.clone();
        transform.seal_rtcp(ssrc, index, &mut packet).unwrap();
        assert_eq!(&packet, sealed, "{name}");
        let len = transform.open_rtcp(ssrc, index, &mut packet).unwrap();
        assert_eq!(packet[..len], plain[..], "{name}");
    }
}

/// From master keys to whole packets, through the public types.
#[test]
fn packets_of_libsrtp() {
    let mut profiles = Vec::new();
    for (name, section) in sections("packets") {
        let profile = match section["profile"][..] {
            [0, 1] => Profile::Aes128CmSha1_80,
            [0, 7] => Profile::AeadAes128Gcm,
            _ => Profile::AeadAes256Gcm,
        };
        profiles.push(profile);
        let master =
            KeyMaterial::new(profile, &section["master_key"], &section["master_salt"]).unwrap();
        // libsrtp's first SRTCP index is 1.
        let mut sealer = Sealer::new(profile, &master).at_rtcp_index(1);
        let mut opener = Opener::new(profile, &master, Limits { max_ssrcs: 1, window: 64 });

        let (plain, sealed) = (&section["rtp"], &section["srtp"]);
        let mut packet = plain.clone();
        packet.resize(plain.len() + profile.rtp_overhead(), 0);
        let len = sealer.seal_rtp(0x1234, &mut packet, 12, plain.len());
        assert_eq!((len, &packet), (sealed.len(), sealed), "{name}");
        let opened = opener.open_rtp(&mut packet, 12, Ssrc(0xcafe_babe), 0x1234).unwrap();
        assert_eq!((opened.index, &packet[..opened.len]), (0x1234, &plain[..]), "{name}");

        let (plain, sealed) = (&section["rtcp"], &section["srtcp"]);
        let mut packet = plain.clone();
        sealer.seal_rtcp(&mut packet);
        assert_eq!(&packet, sealed, "{name}");
        let len = opener.open_rtcp(&mut packet).unwrap();
        assert_eq!(packet[..len], plain[..], "{name}");
    }
    assert!(Profile::ALL.iter().all(|profile| profiles.contains(profile)));
}
