//! Arbitrary bytes into the openers: nothing panics, nothing but what was sealed ever opens.
//!
//! The seed is fixed. `PYFORWARD_FUZZ_SECONDS` makes it longer, then with other seeds too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::{Duration, Instant};

use pyforward_core::ids::Ssrc;
use pyforward_core::srtp::{KeyMaterial, Limits, Opener, Profile, Sealer};

/// Bytes that were hard once, or lie at an edge: one packet a line.
const CORPUS: &str = include_str!("../../../tests/vectors/srtp_corpus.txt");

const LIMITS: Limits = Limits { max_ssrcs: 3, window: 64 };

const ROUNDS: u32 = 20_000;

/// The openers are made anew so often; otherwise all would soon be a replay.
const ROUNDS_OF_A_SESSION: u32 = 16;

/// xorshift64*: the same bytes everywhere, for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One session with what it has sealed.
struct Target {
    master: KeyMaterial,
    profile: Profile,
    opener: Opener,
    opened: u32,
    rtp: Vec<Vec<u8>>,
    rtcp: Vec<Vec<u8>>,
}

impl Target {
    fn new(profile: Profile) -> Target {
        let bytes = [0x42u8; 32];
        let (key, salt) = (&bytes[..profile.key_len()], &bytes[..profile.salt_len()]);
        let master = KeyMaterial::new(profile, key, salt).unwrap();
        let mut sealer = Sealer::new(profile, &master);
        let (mut rtp, mut rtcp) = (Vec::new(), Vec::new());
        for at in 0u8..16 {
            let mut packet = vec![0x80, 96, 0xff, at, 0, 0, 0, 0, 0, 0, 0, at % 3];
            packet.extend((0..at.wrapping_mul(9)).map(|byte| byte ^ at));
            let len = packet.len();
            packet.resize(len + profile.rtp_overhead(), 0);
            let _ = sealer.seal_rtp(0xff00 | u64::from(at), &mut packet, 12, len);
            rtp.push(packet);
            let mut compound = vec![0x81, 200, 0, 6, 0, 0, 0, at % 3];
            compound.extend((0..at.wrapping_mul(5)).map(|byte| byte ^ at));
            sealer.seal_rtcp(&mut compound);
            rtcp.push(compound);
        }
        let opener = Opener::new(profile, &master, LIMITS);
        Target { master, profile, opener, opened: 0, rtp, rtcp }
    }

    fn forget(&mut self) {
        self.opener = Opener::new(self.profile, &self.master, LIMITS);
    }

    /// Whatever the header length that a parser would claim, only a sealed packet opens, and only
    /// with its own.
    fn rtp(&mut self, bytes: &[u8], header_len: usize) {
        let field = |at: usize| {
            bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
        };
        let mut packet = bytes.to_vec();
        let result = self.opener.open_rtp(&mut packet, header_len, Ssrc(field(8)), field(0) as u16);
        if let Ok(opened) = result {
            assert!(self.rtp.iter().any(|sealed| sealed == bytes), "opened {bytes:02x?}");
            assert!(header_len <= opened.len && opened.len < bytes.len());
            assert_eq!(opened.index as u16, field(0) as u16);
            self.opened += 1;
        }
    }

    fn rtcp(&mut self, bytes: &[u8]) {
        let mut packet = bytes.to_vec();
        if let Ok(len) = self.opener.open_rtcp(&mut packet) {
            assert!(self.rtcp.iter().any(|sealed| sealed == bytes), "opened {bytes:02x?}");
            assert!(8 <= len && len < bytes.len());
            self.opened += 1;
        }
    }
}

fn mutate(random: &mut Random, sealed: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = sealed[random.below(sealed.len())].clone();
    for _ in 0..random.below(4) {
        match random.below(6) {
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            1 => bytes.extend((0..random.below(40)).map(|at| at as u8)),
            2 => {
                let other = &sealed[random.below(sealed.len())];
                bytes.truncate(random.below(bytes.len() + 1));
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            3 => bytes = (0..random.below(1_500)).map(|_| random.next() as u8).collect(),
            _ if !bytes.is_empty() => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            _ => {}
        }
    }
    bytes
}

/// One run over every profile from one seed.
fn run(seed: u64) {
    for profile in Profile::ALL {
        let mut random = Random(seed);
        let mut target = Target::new(profile);
        for round in 0..ROUNDS {
            if round % ROUNDS_OF_A_SESSION == 0 {
                target.forget();
            }
            let bytes = mutate(&mut random, &target.rtp);
            let header_len = if round % 2 == 0 { 12 } else { random.below(bytes.len() + 20) };
            target.rtp(&bytes, header_len);
            let bytes = mutate(&mut random, &target.rtcp);
            target.rtcp(&bytes);
        }
        assert!(target.opened > ROUNDS / 10, "hardly anything reached the tags");
    }
}

#[test]
fn arbitrary_bytes_never_open() {
    let seconds = std::env::var("PYFORWARD_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut seed = 0x5eed_0000_0000_0001;
    loop {
        run(seed);
        seed += 1;
        if Instant::now() >= until {
            break;
        }
    }
}

#[test]
fn the_corpus_never_opens() {
    for line in CORPUS.lines().filter(|line| !line.starts_with('#')) {
        let bytes: Vec<u8> = (0..line.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap())
            .collect();
        for profile in Profile::ALL {
            let mut target = Target::new(profile);
            for header_len in 0..bytes.len() + 2 {
                target.rtp(&bytes, header_len);
            }
            target.rtcp(&bytes);
        }
    }
}
