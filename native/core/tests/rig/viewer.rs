//! A viewer: opens, orders, asks again, reports, and keeps everything it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use pyforward_core::command::{Media, SubscribeTrack};
use pyforward_core::ids::{PayloadType, SessionId, Ssrc};
use pyforward_core::media::{Codec, Extension, Format, Kind};
use pyforward_core::rtcp::{self, Item};
use pyforward_core::rtp;
use pyforward_core::srtp::{Limits, Opener, Profile, Sealer};
use pyforward_core::time::{Ntp, Time};

use super::checks::Checks;
use super::{STREAM, keys};

/// How far back it asks.
const LATELY: u64 = 2_048;
/// A number is asked for again when it has been missing for this long, and again after it.
const ASK_AFTER: Duration = Duration::from_millis(15);
const ASK_AGAIN: Duration = Duration::from_millis(60);

/// What was opened under one nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub timestamp: u32,
    pub payload_type: u8,
    pub marker: bool,
    pub payload: Vec<u8>,
}

pub struct Viewer {
    pub session: SessionId,
    /// Its way through ICE, and where it is.
    pub ice: Checks,
    pub rtx: bool,
    pub nominate: bool,
    pub checks: bool,
    pub wants_repair: bool,
    pub bye: bool,
    pub pli: bool,
    /// What its reports say of its video: share lost in 1/256, jitter in ticks of 90 kHz.
    pub tells: Option<(u8, u32)>,
    /// Sends a receiver reference time once (RFC 3611 §4.4).
    pub reference_time: bool,
    /// Last receiver reference time and delay of the answers to it.
    pub round_trips: Vec<(u32, u32)>,
    /// Media by kind and index, as first opened or repaired.
    pub media: [BTreeMap<u64, Opened>; 2],
    /// Every sealed datagram by (SSRC, index): a repeat must be the same bytes.
    pub sealed: BTreeMap<(Ssrc, u64), Vec<u8>>,
    /// The nonce rule was broken, here.
    pub broken: Vec<(Ssrc, u64)>,
    pub repaired: u64,
    pub byes: u64,
    pub answers: u64,
    pub sender_reports: Vec<(Ssrc, u64, u32)>,
    pub cnames: u64,
    pub mids: BTreeSet<Vec<u8>>,
    pub dtls: Vec<Vec<u8>>,
    profile: Profile,
    sealer: Sealer,
    opener: Opener,
    asked: [BTreeMap<u64, (Time, u32)>; 2],
    next_look: Time,
    next_report: Time,
    pending: Vec<Vec<u8>>,
}

impl Viewer {
    pub fn new(session: SessionId, address: SocketAddr, now: Time, profile: Profile) -> Viewer {
        let limits = Limits { max_ssrcs: 8, window: 8_192 };
        Viewer {
            session,
            ice: Checks::new(session, address, now),
            rtx: true,
            nominate: true,
            checks: true,
            wants_repair: true,
            bye: false,
            pli: false,
            tells: None,
            reference_time: false,
            round_trips: Vec::new(),
            media: [BTreeMap::new(), BTreeMap::new()],
            sealed: BTreeMap::new(),
            broken: Vec::new(),
            repaired: 0,
            byes: 0,
            answers: 0,
            sender_reports: Vec::new(),
            cnames: 0,
            mids: BTreeSet::new(),
            dtls: Vec::new(),
            profile,
            sealer: Sealer::new(profile, &keys(profile, session, 2)),
            opener: Opener::new(profile, &keys(profile, session, 1), limits),
            asked: [BTreeMap::new(), BTreeMap::new()],
            next_look: now,
            next_report: now + Duration::from_secs(1),
            pending: Vec::new(),
        }
    }

    pub fn ssrc(session: SessionId, kind: Kind) -> Ssrc {
        Ssrc(0xA000_0000 + session.0 as u32 * 16 + kind as u32)
    }

    pub fn rtx_ssrc(session: SessionId) -> Ssrc {
        Ssrc(0xA000_0000 + session.0 as u32 * 16 + 9)
    }

    pub fn subscription(session: SessionId, rtx: bool) -> Media {
        let track = |kind, codec, payload_type: u8| {
            let rtx = rtx && kind == Kind::Video;
            SubscribeTrack {
                kind,
                mid: if kind == Kind::Audio { "a".into() } else { "v".into() },
                clock_rate: Codec::clock_rate(codec),
                ssrc: Viewer::ssrc(session, kind),
                rtx_ssrc: rtx.then(|| Viewer::rtx_ssrc(session)),
                formats: vec![Format {
                    codec,
                    payload_type: PayloadType(payload_type),
                    rtx_payload_type: rtx.then_some(PayloadType(payload_type + 1)),
                }],
                extensions: vec![(9, Extension::Mid)],
                extmap_allow_mixed: true,
                nack: true,
                rrtr: true,
            }
        };
        let tracks =
            vec![track(Kind::Audio, Codec::Opus, 101), track(Kind::Video, Codec::Vp8, 102)];
        Media::Subscribe { stream: STREAM, tracks, cname: "cname".into() }
    }

    pub fn owns(&self, address: SocketAddr) -> bool {
        self.ice.owns(address)
    }

    pub fn due(&self) -> Time {
        let pending = if self.pending.is_empty() { Time::NEVER } else { Time(0) };
        let check = if self.checks { self.ice.due() } else { Time::NEVER };
        check.min(self.next_look).min(pending)
    }

    pub fn act(&mut self, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
        let check = if self.checks { self.ice.poll(now, self.nominate) } else { None };
        if self.next_look <= now {
            self.next_look = now + Duration::from_millis(10);
            if self.wants_repair {
                self.ask(now);
            }
        }
        self.feedback(now);
        let address = self.ice.address;
        let pending = self.pending.drain(..).map(|bytes| (address, bytes));
        check.into_iter().chain(pending).collect()
    }

    /// Takes a new address, as Wi-Fi to mobile does, and checks from there at once.
    pub fn move_to(&mut self, now: Time, address: SocketAddr) {
        self.ice.move_to(now, address);
    }

    pub fn receive(&mut self, now: Time, mut bytes: Vec<u8>) {
        match bytes[0] {
            0..=3 => {
                self.answers += 1;
                self.ice.handle_answer(now, &bytes);
            }
            20..=63 => self.dtls.push(bytes),
            _ if rtcp::is_rtcp(&bytes) => self.receive_rtcp(&mut bytes),
            _ => self.receive_rtp(bytes),
        }
    }

    /// The payloads of one kind in the order of their numbers.
    pub fn payloads(&self, kind: Kind) -> Vec<Vec<u8>> {
        self.media[kind as usize].values().map(|opened| opened.payload.clone()).collect()
    }

    /// Numbers that never came, between the first and the last that did.
    pub fn missing(&self, kind: Kind) -> Vec<u64> {
        let media = &self.media[kind as usize];
        let (Some((first, _)), Some((last, _))) = (media.first_key_value(), media.last_key_value())
        else {
            return Vec::new();
        };
        (*first..*last).filter(|index| !media.contains_key(index)).collect()
    }

    /// Those of them that may still be had, without walking all that came.
    fn lately_missing(&self, kind: Kind) -> Vec<u64> {
        let media = &self.media[kind as usize];
        let (Some((first, _)), Some((last, _))) = (media.first_key_value(), media.last_key_value())
        else {
            return Vec::new();
        };
        let mut expected = last.saturating_sub(LATELY).max(*first);
        let mut missing = Vec::new();
        for index in media.range(expected..).map(|(index, _)| *index) {
            missing.extend(expected..index);
            expected = index + 1;
        }
        missing
    }

    fn receive_rtp(&mut self, mut bytes: Vec<u8>) {
        let sealed = bytes.clone();
        let view = rtp::View::parse(&bytes).expect("the server sends valid RTP");
        let opened =
            match self.opener.open_rtp(&mut bytes, view.header_len, view.ssrc, view.sequence) {
                Ok(opened) => opened,
                Err(_) => {
                    // A repeat: the replay window refuses it, the bytes must still be the same.
                    self.hold_against_nonce(&view, sealed);
                    return;
                }
            };
        self.sealed.insert((view.ssrc, opened.index), sealed);
        let packet = &bytes[..opened.len];
        for (id, start, len) in view.extensions(packet) {
            assert_eq!(id, 9, "only MID was negotiated");
            self.mids.insert(packet[start..start + len].to_vec());
        }
        let mut range = view.payload(packet).expect("padding is valid");
        let padding = opened.len - range.end;
        assert!(padding <= 16 && 100 * padding <= range.len(), "{padding} bytes of padding");
        let (mut index, mut payload_type) = (opened.index, view.payload_type.0);
        let kind = if view.ssrc == Viewer::ssrc(self.session, Kind::Audio) {
            Kind::Audio
        } else {
            Kind::Video
        };
        if view.ssrc == Viewer::rtx_ssrc(self.session) {
            let number = u16::from_be_bytes([packet[range.start], packet[range.start + 1]]);
            range.start += 2;
            payload_type -= 1;
            let Some((newest, _)) = self.media[kind as usize].last_key_value() else { return };
            let behind = (*newest as u16).wrapping_sub(number) as i16;
            index = newest.wrapping_sub(i64::from(behind) as u64);
            self.repaired += 1;
        }
        let payload = packet[range].to_vec();
        let opened =
            Opened { timestamp: view.timestamp, payload_type, marker: view.marker, payload };
        if let Some(known) = self.media[kind as usize].insert(index, opened.clone()) {
            assert_eq!(known, opened, "a number has one packet");
        }
    }

    fn hold_against_nonce(&mut self, view: &rtp::View, sealed: Vec<u8>) {
        let seen = self
            .sealed
            .range((view.ssrc, 0)..=(view.ssrc, u64::MAX))
            .rev()
            .find(|((_, index), _)| *index as u16 == view.sequence);
        if let Some((nonce, before)) = seen
            && *before != sealed
        {
            self.broken.push(*nonce);
        }
    }

    fn receive_rtcp(&mut self, bytes: &mut [u8]) {
        let Ok(len) = self.opener.open_rtcp(bytes) else { return };
        for item in rtcp::parse(&bytes[..len]).expect("the server sends valid RTCP") {
            match item {
                Item::SenderReport { ssrc, ntp, rtp_timestamp, .. } => {
                    self.sender_reports.push((ssrc, ntp.0, rtp_timestamp));
                }
                Item::Bye { .. } => self.byes += 1,
                Item::Dlrr { last_rr, delay, .. } => self.round_trips.push((last_rr, delay)),
                _ => {}
            }
        }
    }

    fn ask(&mut self, now: Time) {
        for kind in Kind::ALL {
            let mut numbers = Vec::new();
            for index in self.lately_missing(kind) {
                let (asked, times) = self.asked[kind as usize].entry(index).or_insert((now, 0));
                let wait = if *times == 0 { ASK_AFTER } else { ASK_AGAIN };
                if now.since(*asked) >= wait && *times < 10 {
                    *asked = now;
                    *times += 1;
                    numbers.push(index as u16);
                }
            }
            for chunk in numbers.chunks(60) {
                let mut compound = Vec::new();
                let mut writer = rtcp::Writer::new(&mut compound);
                writer.receiver_report(Ssrc(1), &[]);
                writer.nack(Ssrc(1), Viewer::ssrc(self.session, kind), chunk);
                self.seal(compound);
            }
        }
    }

    fn feedback(&mut self, now: Time) {
        let mut compound = Vec::new();
        let mut writer = rtcp::Writer::new(&mut compound);
        let (bye, pli) = (std::mem::take(&mut self.bye), std::mem::take(&mut self.pli));
        let report = self.next_report <= now && !self.media[1].is_empty();
        if report {
            self.next_report = now + Duration::from_secs(1);
        }
        let reference_time = std::mem::take(&mut self.reference_time);
        if report || bye || pli || reference_time {
            let block = self.tells.filter(|_| report).map(|(lost, jitter)| rtcp::ReportBlock {
                ssrc: Viewer::ssrc(self.session, Kind::Video),
                fraction_lost: lost,
                cumulative_lost: 0,
                highest: 0,
                jitter,
                last_sr: 0,
                delay_since_last_sr: 0,
            });
            writer.receiver_report(Ssrc(1), block.as_slice());
        }
        if pli {
            writer.pli(Ssrc(1), Viewer::ssrc(self.session, Kind::Video));
        }
        if reference_time {
            writer.receiver_reference_time(Ssrc(1), Ntp(0x1234_5678 << 16));
        }
        if bye {
            writer.bye(&[Ssrc(1)]);
        }
        if !compound.is_empty() {
            self.seal(compound);
        }
    }

    fn seal(&mut self, mut compound: Vec<u8>) {
        self.sealer.seal_rtcp(&mut compound);
        self.pending.push(compound);
    }
}
