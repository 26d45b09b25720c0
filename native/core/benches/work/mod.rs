//! The pieces of work that are measured, by `packets` in time and by `counts` in instructions.
//!
//! Everything goes the way of the packet path, with one frame of video at a time: eight packets of
//! 1,188 bytes. What leaves comes to a transmitter that takes everything and does nothing.

mod building;
mod crowd;
mod feedback;
#[path = "../../tests/rig/mod.rs"]
mod rig;
mod sealing;
mod waiting;

use feedback::{Feedback, Says};

/// Packets of a frame: the trains that a paced publisher of 2.5 Mbit/s gives.
pub const FRAME: usize = 8;

/// Bytes of payload of each.
pub const PAYLOAD: usize = 1_188;

/// One piece of work; it can be done again and again.
pub trait Work {
    /// Does it once.
    fn run(&mut self);

    /// Packets that one run handles; where there are none, one.
    fn packets(&self) -> usize {
        FRAME
    }
}

/// All of them by name. A number behind a slash is how many viewers there are; each of them gets a
/// packet of audio too where somebody rides.
pub const NAMES: [&str; 18] = [
    "seal",
    "open",
    "header",
    "gather",
    "train",
    "check",
    "report",
    "request",
    "repeat",
    "fan_out/1",
    "fan_out/100",
    "fan_out/1000",
    "fan_out/10000",
    "ride/100",
    "idle/100",
    "idle/10000",
    "due/100",
    "due/10000",
];

/// Sets one up.
pub fn named(name: &str) -> Option<Box<dyn Work>> {
    let (work, viewers) = name.split_once('/').unwrap_or((name, "1"));
    let viewers: u16 = viewers.parse().ok()?;
    Some(match work {
        "seal" => Box::new(sealing::Seal::new()),
        "open" => Box::new(sealing::Open::new()),
        "header" => Box::new(building::Header::new()),
        "gather" => Box::new(building::Gather::new()),
        "train" => Box::new(building::Train::new()),
        "check" => Box::new(Feedback::new(Says::Check)),
        "report" => Box::new(Feedback::new(Says::Report)),
        "request" => Box::new(Feedback::new(Says::Request)),
        "repeat" => Box::new(Feedback::new(Says::Repeat)),
        "fan_out" => Box::new(crowd::FanOut::new(viewers.into(), false)),
        "ride" => Box::new(crowd::FanOut::new(viewers.into(), true)),
        "idle" => Box::new(waiting::Idle::new(viewers.into())),
        "due" => Box::new(waiting::Due::new(viewers)),
        _ => return None,
    })
}

/// A frame's packet as a publisher sends it: fixed header, MID, and a VP8 descriptor (RFC 7741
/// §4.2) of a frame that is no keyframe.
fn plain_packet(sequence: u16, timestamp: u32, position: usize) -> Vec<u8> {
    let marker = u8::from(position + 1 == FRAME) << 7;
    let mut packet = vec![0x90, marker | 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend([0xBE, 0xDE, 0, 1, MID_ID << 4, b'1', 0, 0]);
    let start = packet.len();
    packet.resize(start + PAYLOAD, 0xA5);
    packet[start] = if position == 0 { 0x10 } else { 0 };
    packet[start + 1] = 1;
    packet
}

/// Of the publisher's video.
const SSRC: u32 = 0x2000_0001;

/// Of the MID extension, on both sides.
const MID_ID: u8 = 4;
