//! A publisher: frames of VP8 or H.264 and Opus by the clock, kept to answer NACKs.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use pyforward_core::command::{Media, PublishTrack};
use pyforward_core::discard::Discard;
use pyforward_core::ids::{PayloadType, SessionId, Ssrc};
use pyforward_core::media::{Codec, Extension, Kind};
use pyforward_core::rtcp::{self, Item};
use pyforward_core::srtp::{Limits, Opener, Profile, Sealer};
use pyforward_core::time::Time;

use super::checks::Checks;
use super::{STREAM, keys};

pub const VIDEO: Ssrc = Ssrc(0x1111_0001);
pub const VIDEO_RTX: Ssrc = Ssrc(0x1111_0002);
pub const AUDIO: Ssrc = Ssrc(0x2222_0001);
const VIDEO_PT: u8 = 96;
const RTX_PT: u8 = 97;
const AUDIO_PT: u8 = 111;

pub struct Publisher {
    pub session: SessionId,
    /// Its way through ICE, and where it is.
    pub ice: Checks,
    /// Frames and audio are sent while it is on air.
    pub on_air: bool,
    /// Packets in a frame and in a keyframe.
    pub frame_packets: (usize, usize),
    /// Between two packets of a frame, as a pacer spreads them.
    pub pace: Duration,
    /// Bytes of a video packet's payload, or one more.
    pub payload_bytes: usize,
    /// Every payload that was sent, by kind, in order.
    pub sent: [Vec<Vec<u8>>; 2],
    pub keyframe_requests: u64,
    /// Requests are counted and not answered, as by OBS.
    pub deaf: bool,
    pub nacked: u64,
    /// When a video packet was asked for.
    pub asked: Vec<(Time, u16)>,
    /// A video packet, counted from 1, that never leaves and cannot be repaired.
    pub lost_for_good: Option<usize>,
    pub frames_between_keyframes: u64,
    pub bye: bool,
    pub checks: bool,
    /// Repairs by RTX or by the same packet again.
    pub rtx: bool,
    sealer: Sealer,
    opener: Opener,
    history: BTreeMap<(Ssrc, u16), (u64, Vec<u8>)>,
    next_index: [u64; 3],
    next_frame: Time,
    next_audio: Time,
    frames: u64,
    pending: Vec<Vec<u8>>,
    paced: VecDeque<(Time, Vec<u8>)>,
}

impl Publisher {
    pub fn new(session: SessionId, address: SocketAddr, now: Time, first: u64) -> Publisher {
        let profile = Profile::AeadAes128Gcm;
        let limits = Limits { max_ssrcs: 8, window: 1_024 };
        Publisher {
            session,
            ice: Checks::new(session, address, now),
            on_air: true,
            frame_packets: (4, 20),
            pace: Duration::ZERO,
            payload_bytes: 1_100,
            sent: [Vec::new(), Vec::new()],
            keyframe_requests: 0,
            deaf: false,
            nacked: 0,
            asked: Vec::new(),
            lost_for_good: None,
            frames_between_keyframes: 60,
            bye: false,
            checks: true,
            rtx: true,
            sealer: Sealer::new(profile, &keys(profile, session, 2)),
            opener: Opener::new(profile, &keys(profile, session, 1), limits),
            history: BTreeMap::new(),
            next_index: [first, first, 5],
            next_frame: now,
            next_audio: now,
            frames: 0,
            pending: Vec::new(),
            paced: VecDeque::new(),
        }
    }

    pub fn media() -> Media {
        Publisher::media_of(Codec::Vp8)
    }

    pub fn media_of(video: Codec) -> Media {
        let track = |kind, codec, payload_type, ssrc| PublishTrack {
            kind,
            mid: if kind == Kind::Audio { "0".into() } else { "1".into() },
            codec,
            payload_type: PayloadType(payload_type),
            rtx_payload_type: (kind == Kind::Video).then_some(PayloadType(RTX_PT)),
            clock_rate: codec.clock_rate(),
            ssrcs: vec![ssrc],
            rtx_ssrcs: if kind == Kind::Video { vec![(VIDEO, VIDEO_RTX)] } else { Vec::new() },
            rids: Vec::new(),
            extensions: vec![(4, Extension::Mid)],
            feedback_ssrc: Ssrc(77),
            nack: true,
            pli: true,
            fir: true,
            reduced_size: kind == Kind::Video,
            transport_cc: false,
            remb: false,
            parameter_sets: Vec::new(),
            alternatives: Vec::new(),
        };
        let tracks = vec![
            track(Kind::Audio, Codec::Opus, AUDIO_PT, AUDIO),
            track(Kind::Video, video, VIDEO_PT, VIDEO),
        ];
        Media::Publish { stream: STREAM, tracks }
    }

    /// Its next frame is no keyframe.
    pub fn begin_between_keyframes(&mut self) {
        self.frames = 1;
    }

    pub fn owns(&self, address: SocketAddr) -> bool {
        self.ice.owns(address)
    }

    pub fn due(&self) -> Time {
        let media = if self.on_air { self.next_frame.min(self.next_audio) } else { Time::NEVER };
        let pending = if self.pending.is_empty() { Time::NEVER } else { Time(0) };
        let check = if self.checks { self.ice.due() } else { Time::NEVER };
        let paced = self.paced.front().map_or(Time::NEVER, |(due, _)| *due);
        check.min(media).min(pending).min(paced)
    }

    pub fn act(&mut self, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
        let check = if self.checks { self.ice.poll(now, true) } else { None };
        if self.on_air && self.next_frame <= now {
            self.frame(now);
            self.next_frame = self.next_frame + Duration::from_micros(33_333);
        }
        while self.paced.front().is_some_and(|(due, _)| *due <= now) {
            self.pending.extend(self.paced.pop_front().map(|(_, packet)| packet));
        }
        if self.on_air && self.next_audio <= now {
            let payload = self.payload(Kind::Audio, 80, false, true);
            self.packet(now, Kind::Audio, payload, false);
            self.next_audio = self.next_audio + Duration::from_millis(20);
        }
        if std::mem::take(&mut self.bye) {
            let mut compound = Vec::new();
            let mut writer = rtcp::Writer::new(&mut compound);
            writer.receiver_report(VIDEO, &[]);
            writer.bye(&[VIDEO, AUDIO]);
            self.sealer.seal_rtcp(&mut compound);
            self.pending.push(compound);
        }
        let address = self.ice.address;
        let pending = self.pending.drain(..).map(|bytes| (address, bytes));
        check.into_iter().chain(pending).collect()
    }

    pub fn receive(&mut self, now: Time, mut bytes: Vec<u8>) {
        if !(128..192).contains(&bytes[0]) {
            if bytes[0] < 4 {
                self.ice.handle_answer(now, &bytes);
            }
            return;
        }
        let len = match self.opener.open_rtcp(&mut bytes) {
            Ok(len) => len,
            Err(Discard::SrtpReplay) => return,
            Err(reason) => panic!("feedback does not open: {reason:?}"),
        };
        for item in rtcp::parse(&bytes[..len]).expect("feedback parses") {
            match item {
                Item::Pli { .. } | Item::Fir { .. } => {
                    self.keyframe_requests += 1;
                    if !self.deaf {
                        self.frames = 0;
                    }
                }
                Item::Nack { media, sequences } => {
                    for number in sequences {
                        self.nacked += 1;
                        self.asked.push((now, number));
                        self.repair(media, number);
                    }
                }
                _ => {}
            }
        }
    }

    fn repair(&mut self, media: Ssrc, number: u16) {
        let Some((index, plain)) = self.history.get(&(media, number)).cloned() else { return };
        if !self.rtx || media != VIDEO {
            self.seal(index, plain);
            return;
        }
        let mut packet = plain.clone();
        let rtx_index = self.next_index[2];
        self.next_index[2] += 1;
        packet[1] = (packet[1] & 0x80) | RTX_PT;
        packet[2..4].copy_from_slice(&(rtx_index as u16).to_be_bytes());
        packet[8..12].copy_from_slice(&VIDEO_RTX.0.to_be_bytes());
        packet.splice(12..12, number.to_be_bytes());
        self.seal(rtx_index, packet);
    }

    fn frame(&mut self, now: Time) {
        let keyframe = self.frames.is_multiple_of(self.frames_between_keyframes);
        let packets = if keyframe { self.frame_packets.1 } else { self.frame_packets.0 };
        let before = self.pending.len();
        for position in 0..packets {
            // Packets of a frame differ by a byte, the shorter ones first.
            let size = self.payload_bytes + usize::from(position * 2 >= packets);
            let payload = self.payload(Kind::Video, size, keyframe, position == 0);
            self.packet(now, Kind::Video, payload, position + 1 == packets);
        }
        let packets = self.pending.split_off(before).into_iter();
        self.paced.extend(packets.zip(0..).map(|(packet, n)| (now + self.pace * n, packet)));
        self.frames += 1;
    }

    fn payload(&self, kind: Kind, size: usize, keyframe: bool, first: bool) -> Vec<u8> {
        let serial = self.sent[kind as usize].len() as u64;
        let mut payload = vec![(serial % 251) as u8; size];
        if kind == Kind::Video {
            // VP8 payload descriptor with S on the first packet (RFC 7741 §4.2), then the frame
            // header whose lowest bit is 0 in a keyframe (§4.3).
            payload[0] = if first { 0x10 } else { 0 };
            payload[1] = u8::from(!keyframe);
        }
        payload[4..12].copy_from_slice(&serial.to_be_bytes());
        payload[12..20].copy_from_slice(&self.session.0.to_be_bytes());
        payload
    }

    fn packet(&mut self, now: Time, kind: Kind, payload: Vec<u8>, marker: bool) {
        let (ssrc, payload_type, rate) = match kind {
            Kind::Audio => (AUDIO, AUDIO_PT, 48_000),
            Kind::Video => (VIDEO, VIDEO_PT, 90_000),
        };
        let index = self.next_index[kind as usize];
        self.next_index[kind as usize] += 1;
        let timestamp = (now.0 * rate / 1_000_000) as u32;
        let mut packet = vec![0x80, (u8::from(marker) << 7) | payload_type];
        packet.extend((index as u16).to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.0.to_be_bytes());
        packet.extend(&payload);
        self.sent[kind as usize].push(payload);
        if kind == Kind::Video && self.lost_for_good == Some(self.sent[1].len()) {
            return;
        }
        self.history.insert((ssrc, index as u16), (index, packet.clone()));
        self.seal(index, packet);
    }

    fn seal(&mut self, index: u64, mut packet: Vec<u8>) {
        let len = packet.len();
        packet.resize(len + 16, 0);
        let sealed = self.sealer.seal_rtp(index, &mut packet, 12, len);
        packet.truncate(sealed);
        self.pending.push(packet);
    }
}
