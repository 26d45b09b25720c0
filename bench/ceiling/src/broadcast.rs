//! The viewers and the loop: viewer outside, packet inside, sealed straight into the arena.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pyforward_core::egress::{Message, Outcome, Transmit};
use pyforward_core::path::{Path, SocketId};
use pyforward_core::srtp::{KeyMaterial, Profile, Sealer};
use pyforward_io::clock::Clock;
use pyforward_io::gso::{MAX_SEGMENTS, Sender};
use pyforward_io::send::Kernel;
use pyforward_io::udp::{Sharing, UdpSocket};

use crate::options::{HEADER, Options};
use crate::rig::Rig;
use crate::sample::Sample;
use crate::trains::{MAX_PAYLOAD, Train};
use crate::variant::Variant;

/// Messages that wait for one system call at most; what `sendmmsg` takes at once.
const MESSAGES: usize = pyforward_io::send::BATCH;

/// The sender of a variant: to the kernel, or to nowhere.
pub enum Out {
    /// By the sockets.
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
    /// Bursts so far.
    turn: usize,
    /// What header and tag add to a payload.
    overhead: usize,
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
    /// Keys for each destination, a socket for each local address, and room for the longest train.
    pub fn new(
        options: &Options,
        rig: &Rig,
        destinations: &[SocketAddr],
        longest: usize,
    ) -> Result<Broadcast, String> {
        let paths: Vec<Path> = destinations
            .iter()
            .map(|remote| {
                let local = rig.local(*remote)?;
                Ok(Path { socket: SocketId::SHARED, local, remote: *remote })
            })
            .collect::<Result<_, String>>()?;
        let locals: BTreeSet<IpAddr> = paths.iter().map(|path| path.local).collect();
        let sockets: Vec<UdpSocket> = locals.into_iter().map(bind).collect::<Result<_, _>>()?;
        let viewers = (0..)
            .zip(paths)
            .map(|(number, path)| Viewer::new(options.profile, path, number))
            .collect::<Result<_, _>>()?;
        let payload = |seed: u8| (0..MAX_PAYLOAD).map(|at| at as u8 ^ seed).collect();
        Ok(Broadcast {
            sockets: Arc::from(sockets),
            viewers,
            payloads: (0..MAX_SEGMENTS as u8).map(payload).collect(),
            arena: vec![0; options.arena.max(longest)],
            messages: Vec::with_capacity(MESSAGES),
            outcomes: Vec::with_capacity(MESSAGES),
            turn: 0,
            overhead: options.overhead(),
        })
    }

    /// The way out for a variant.
    pub fn sender(&self, variant: &Variant) -> Out {
        if !variant.send {
            return Out::Nowhere;
        }
        let kernel = Kernel::new(Arc::clone(&self.sockets));
        let clock = Clock::start().0;
        Out::Kernel(Box::new(Sender::new(kernel, clock, variant.gso, variant.sendmmsg)))
    }

    /// One train to every viewer. `served` is told after each call for how many viewers the kernel
    /// has taken it.
    pub fn burst(
        &mut self,
        variant: &Variant,
        train: Train,
        out: &mut Out,
        mut served: impl FnMut(u64),
    ) -> Result<Sample, String> {
        let mut sample = Sample::default();
        let len = train.len(self.overhead);
        let mut viewers = std::mem::take(&mut self.viewers);
        let first = first(self.turn, viewers.len());
        self.turn = self.turn.wrapping_add(1);
        let (before, behind) = viewers.split_at_mut(first);
        let mut at = 0;
        for viewer in behind.iter_mut().chain(before) {
            if at + len > self.arena.len() || self.messages.len() == MESSAGES {
                sample.add(self.flush(variant, out, &mut served));
                at = 0;
            }
            self.build(viewer, train, at)?;
            at += len;
        }
        self.viewers = viewers;
        sample.add(self.flush(variant, out, &mut served));
        Ok(sample)
    }

    /// Header and payload of each packet into the arena, sealed where they stand.
    fn build(&mut self, viewer: &mut Viewer, train: Train, start: usize) -> Result<(), String> {
        let mut at = start;
        let last = train.packets - 1;
        for (number, (size, payload)) in train.sizes().zip(&self.payloads).enumerate() {
            let packet =
                self.arena.get_mut(at..at + size + self.overhead).ok_or("arena too small")?;
            let (header, rest) = packet.split_at_mut(HEADER);
            header.copy_from_slice(&viewer.header(number == last));
            rest[..size].copy_from_slice(&payload[..size]);
            at += viewer.sealer.seal_rtp(viewer.index, packet, HEADER, HEADER + size);
            viewer.index += 1;
        }
        viewer.timestamp = viewer.timestamp.wrapping_add(3_000);
        self.messages.push(Message {
            path: viewer.path,
            start: start as u32,
            len: (at - start) as u32,
            segment: (train.size + self.overhead) as u16,
            owner: Message::NOBODY,
        });
        Ok(())
    }

    fn flush(&mut self, variant: &Variant, out: &mut Out, served: &mut impl FnMut(u64)) -> Sample {
        let mut sample = Sample {
            packets: self.messages.iter().map(|message| u64::from(message.datagrams())).sum(),
            bytes: self.messages.iter().map(|message| u64::from(message.len)).sum(),
            ..Sample::default()
        };
        if let Out::Kernel(sender) = out {
            self.outcomes.clear();
            sample.calls = sender.transmit(&self.arena, &self.messages, &mut self.outcomes) as u64;
            let mut taken = 0;
            for (message, outcome) in self.messages.iter().zip(&self.outcomes) {
                match outcome {
                    Outcome::Sent => taken += 1,
                    _ => sample.lost += u64::from(message.datagrams()),
                }
            }
            served(taken);
            let trains = self.messages.len() as u64;
            sample.messages = if variant.gso { trains } else { sample.packets };
            sample.frames = if variant.offload { trains } else { sample.packets };
        }
        self.messages.clear();
        sample
    }
}

/// With whom a burst begins: with another one each time, so that nobody is always the last. By a
/// large prime step, as in the forwarder.
fn first(turn: usize, viewers: usize) -> usize {
    turn.wrapping_mul(0x9E37_79B1) % viewers.max(1)
}

/// A socket of one family, so that the other one's addresses are not mapped.
fn bind(local: IpAddr) -> Result<UdpSocket, String> {
    UdpSocket::bind_single(SocketAddr::new(local, 0), Sharing::First)
        .map_err(|error| format!("cannot bind {local}: {error}"))
}

impl Viewer {
    fn new(profile: Profile, path: Path, number: u32) -> Result<Viewer, String> {
        let bytes: Vec<u8> =
            (0..8).flat_map(|word: u32| (number ^ word << 24).to_be_bytes()).collect();
        let (key, salt) = (&bytes[..profile.key_len()], &bytes[..profile.salt_len()]);
        let master = KeyMaterial::new(profile, key, salt).map_err(|error| error.to_string())?;
        Ok(Viewer {
            sealer: Sealer::new(profile, &master),
            path,
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn everybody_is_the_first_as_often_as_others() {
        for viewers in [1, 2, 7, 1_000] {
            let begun: HashSet<usize> = (0..viewers).map(|turn| first(turn, viewers)).collect();
            assert_eq!(begun.len(), viewers);
        }
        assert_eq!(first(9, 0), 0);
    }
}
