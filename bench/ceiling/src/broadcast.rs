//! The viewers and the loop: viewer outside, packet inside, sealed straight into the arena.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pyforward_core::egress::{Message, Outcome, Transmit};
use pyforward_core::path::{Path, SocketId};
use pyforward_core::srtp::{KeyMaterial, Profile, Sealer};
use pyforward_io::clock::Clock;
use pyforward_io::gso::Sender;
use pyforward_io::send::Kernel;
use pyforward_io::udp::{Sharing, UdpSocket};

use crate::Variant;
use crate::options::Options;
use crate::report::Sample;
use crate::rig::Rig;

/// RTP without CSRCs and extensions.
const HEADER: usize = 12;

/// Messages that wait for one system call at most; what `sendmmsg` takes at once.
const MESSAGES: usize = pyforward_io::send::BATCH;

/// The sender of a variant: to the kernel, or to nowhere.
pub enum Out {
    /// By the socket.
    Kernel(Box<Sender<Kernel>>),
    /// Built and forgotten.
    Nowhere,
}

/// Everybody who watches, and the media that all of them get.
pub struct Broadcast {
    sockets: Arc<[UdpSocket]>,
    viewers: Vec<Viewer>,
    /// Opened packets of a burst as the fan-out finds them: shared by all viewers.
    payloads: Vec<Vec<u8>>,
    arena: Vec<u8>,
    messages: Vec<Message>,
    outcomes: Vec<Outcome>,
    packet_len: usize,
}

struct Viewer {
    sealer: Sealer,
    path: Path,
    ssrc: u32,
    /// Rollover counter and sequence number of the next packet.
    index: u64,
    timestamp: u32,
}

impl Broadcast {
    /// Keys and an address for each viewer.
    pub fn new(options: &Options, rig: &Rig) -> Result<Broadcast, String> {
        let socket = UdpSocket::bind(SocketAddr::new(rig.local(), 0), Sharing::First)
            .map_err(|error| format!("cannot bind {}: {error}", rig.local()))?;
        let viewers = (0..options.viewers)
            .map(|number| Viewer::new(options.profile, rig.local(), rig.viewer(number), number))
            .collect::<Result<_, _>>()?;
        let payload = |seed: u8| (0..options.payload).map(|at| at as u8 ^ seed).collect();
        Ok(Broadcast {
            sockets: Arc::from([socket]),
            viewers,
            payloads: (0..64).map(payload).collect(),
            arena: vec![0; options.arena.max(64 * options.packet_len())],
            messages: Vec::with_capacity(MESSAGES),
            outcomes: Vec::with_capacity(MESSAGES),
            packet_len: options.packet_len(),
        })
    }

    /// The way out for a variant, by one socket for all.
    pub fn sender(&self, variant: &Variant) -> Out {
        match variant.send {
            true => {
                let kernel = Kernel::new(Arc::clone(&self.sockets));
                Out::Kernel(Box::new(Sender::new(
                    kernel,
                    Clock::start().0,
                    variant.gso,
                    variant.sendmmsg,
                )))
            }
            false => Out::Nowhere,
        }
    }

    /// One burst of packets to every viewer.
    pub fn burst(&mut self, variant: &Variant, out: &mut Out) -> Result<Sample, String> {
        let mut sample = Sample::default();
        let train_len = variant.burst * self.packet_len;
        let mut viewers = std::mem::take(&mut self.viewers);
        let mut at = 0;
        for viewer in &mut viewers {
            if at + train_len > self.arena.len() || self.messages.len() == MESSAGES {
                sample.add(self.flush(variant, out)?);
                at = 0;
            }
            self.train(viewer, variant.burst, at)?;
            at += train_len;
        }
        self.viewers = viewers;
        sample.add(self.flush(variant, out)?);
        Ok(sample)
    }

    /// Header and payload of each packet into the arena, sealed where they stand.
    fn train(&mut self, viewer: &mut Viewer, burst: usize, start: usize) -> Result<(), String> {
        let mut at = start;
        for (number, payload) in self.payloads.iter().take(burst).enumerate() {
            let packet = self.arena.get_mut(at..at + self.packet_len).ok_or("arena too small")?;
            let len = HEADER + payload.len();
            let (header, rest) = packet.split_at_mut(HEADER);
            header.copy_from_slice(&viewer.header(number + 1 == burst));
            rest[..payload.len()].copy_from_slice(payload);
            at += viewer.sealer.seal_rtp(viewer.index, packet, HEADER, len);
            viewer.index += 1;
        }
        viewer.timestamp = viewer.timestamp.wrapping_add(3_000);
        self.messages.push(Message {
            path: viewer.path,
            start: start as u32,
            len: (at - start) as u32,
            segment: self.packet_len as u16,
            owner: Message::NOBODY,
        });
        Ok(())
    }

    fn flush(&mut self, variant: &Variant, out: &mut Out) -> Result<Sample, String> {
        let packets = self.messages.iter().map(|message| u64::from(message.datagrams())).sum();
        let bytes = self.messages.iter().map(|message| u64::from(message.len)).sum();
        let mut calls = 0;
        if let Out::Kernel(sender) = out {
            self.outcomes.clear();
            calls = sender.transmit(&self.arena, &self.messages, &mut self.outcomes) as u64;
            if let Some(outcome) = self.outcomes.iter().find(|outcome| **outcome != Outcome::Sent) {
                return Err(format!("a message was not sent but {outcome:?}: no figure"));
            }
        }
        let frames = match variant {
            Variant { send: false, .. } => 0,
            Variant { offload: true, .. } => self.messages.len() as u64,
            _ => packets,
        };
        self.messages.clear();
        Ok(Sample { packets, bytes, calls, frames, ..Sample::default() })
    }
}

impl Viewer {
    fn new(
        profile: Profile,
        local: IpAddr,
        remote: SocketAddr,
        number: u32,
    ) -> Result<Viewer, String> {
        let bytes: Vec<u8> =
            (0..8).flat_map(|word: u32| (number ^ word << 24).to_be_bytes()).collect();
        let (key, salt) = (&bytes[..profile.key_len()], &bytes[..profile.salt_len()]);
        let master = KeyMaterial::new(profile, key, salt).map_err(|error| error.to_string())?;
        Ok(Viewer {
            sealer: Sealer::new(profile, &master),
            path: Path { socket: SocketId::SHARED, local, remote },
            ssrc: 0x1000_0000 | number,
            index: u64::from(number % 0x8000),
            timestamp: number,
        })
    }

    fn header(&self, marker: bool) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0] = 0x80;
        header[1] = 96 | u8::from(marker) << 7;
        header[2..4].copy_from_slice(&(self.index as u16).to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        header
    }
}
