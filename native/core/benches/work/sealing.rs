//! Sealing and opening, with AES-128-GCM.

use std::hint::black_box;

use pyforward_core::ids::Ssrc;
use pyforward_core::srtp::{KeyMaterial, Limits, Opener, Profile, Sealer};

use super::{FRAME, PAYLOAD, SSRC, Work, plain_packet};

const PROFILE: Profile = Profile::AeadAes128Gcm;

/// Fixed header and the block with MID.
const HEADER: usize = 20;

/// Packets that are sealed beforehand, to be opened once each.
const SEALED: usize = 64 * FRAME;

fn material() -> KeyMaterial {
    KeyMaterial::new(PROFILE, &[1; 16], &[2; 12]).unwrap()
}

fn sealed(sealer: &Sealer, index: u64) -> Vec<u8> {
    let mut packet = plain_packet(index as u16, 0, 0);
    let len = packet.len();
    packet.resize(len + PROFILE.rtp_overhead(), 0);
    assert_eq!(sealer.seal_rtp(index, &mut packet, HEADER, len), packet.len());
    packet
}

/// Seals a frame in place.
pub struct Seal {
    sealer: Sealer,
    packet: Vec<u8>,
    index: u64,
}

impl Seal {
    pub fn new() -> Seal {
        let sealer = Sealer::new(PROFILE, &material());
        let packet = sealed(&sealer, 0);
        Seal { sealer, packet, index: 1 }
    }
}

impl Work for Seal {
    fn run(&mut self) {
        for _ in 0..FRAME {
            self.packet[2..4].copy_from_slice(&(self.index as u16).to_be_bytes());
            let packet = black_box(self.packet.as_mut_slice());
            black_box(self.sealer.seal_rtp(self.index, packet, HEADER, HEADER + PAYLOAD));
            self.index += 1;
        }
    }
}

/// Opens a frame, each packet from a copy of what was received, since opening consumes it.
pub struct Open {
    opener: Opener,
    received: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    next: usize,
}

impl Open {
    pub fn new() -> Open {
        let sealer = Sealer::new(PROFILE, &material());
        let received: Vec<Vec<u8>> =
            (0..SEALED as u64).map(|index| sealed(&sealer, index)).collect();
        Open { opener: opener(), buffer: received[0].clone(), received, next: 0 }
    }
}

fn opener() -> Opener {
    Opener::new(PROFILE, &material(), Limits { max_ssrcs: 8, window: 1_024 })
}

impl Work for Open {
    fn run(&mut self) {
        if self.next == SEALED {
            // A replay would be refused.
            (self.opener, self.next) = (opener(), 0);
        }
        for _ in 0..FRAME {
            self.buffer.copy_from_slice(&self.received[self.next]);
            let packet = black_box(self.buffer.as_mut_slice());
            let opened = self.opener.open_rtp(packet, HEADER, Ssrc(SSRC), self.next as u16);
            assert!(black_box(opened).is_ok());
            self.next += 1;
        }
    }
}
