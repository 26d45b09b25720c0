//! What the network may bring: whatever it is, it is counted under its reason, reaches no other
//! session, leaves nothing behind, and a good viewer goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pyforward_core::command::{Command, Media};
use pyforward_core::discard::Discard;
use pyforward_core::ids::{SessionId, Ssrc, StreamId};
use pyforward_core::media::Kind;
use pyforward_core::path::{Path, SocketId};
use pyforward_core::rtcp;
use pyforward_core::srtp::{Profile, Sealer};
use pyforward_core::stats::Counter;
use rig::publisher::{Publisher, VIDEO};
use rig::viewer::Viewer;
use rig::{Rig, SERVER, check, check_with, keys};

const PUBLISHER: SessionId = SessionId(1);
const GOOD: SessionId = SessionId(10);
/// A viewer whose peer is this file.
const BAD: SessionId = SessionId(11);
const GCM: Profile = Profile::AeadAes128Gcm;

fn address(port: u16) -> SocketAddr {
    ([10, 0, 1, 1], port).into()
}

fn path(port: u16) -> Path {
    Path { socket: SocketId::SHARED, local: SERVER, remote: address(port) }
}

const PUBLISHERS_PORT: u16 = 2_000;
const GOOD_PORT: u16 = 3_000;
const BAD_PORT: u16 = 3_002;

/// A publisher and two viewers on one shard; the good one acts, the bad one is sent for by tests.
fn live() -> Rig {
    let mut rig = Rig::new(1);
    rig.add_session(PUBLISHER, Publisher::media());
    let publisher = Publisher::new(PUBLISHER, address(PUBLISHERS_PORT), rig.now, 100);
    rig.publishers.insert(PUBLISHER, publisher);
    rig.add_session(GOOD, Viewer::subscription(GOOD, true));
    rig.viewers.insert(GOOD, Viewer::new(GOOD, address(GOOD_PORT), rig.now, GCM));
    rig.add_session(BAD, Viewer::subscription(BAD, true));
    rig.send(address(BAD_PORT), check(BAD, 1, true));
    rig.run_for(Duration::from_millis(10));
    for session in [PUBLISHER, GOOD, BAD] {
        rig.install_keys(session, GCM);
    }
    rig.run_for(Duration::from_millis(200));
    rig
}

fn take(rig: &mut Rig, port: u16, mut datagram: Vec<u8>) {
    rig::hand(&mut rig.shards[0], rig.now, path(port), &mut datagram);
    rig.settle();
}

/// One datagram, one reason.
fn refused(rig: &mut Rig, port: u16, datagram: Vec<u8>, reason: Discard, what: &str) {
    let before: Vec<u64> = Discard::ALL.iter().map(|reason| rig.discarded(*reason)).collect();
    take(rig, port, datagram);
    for (reason_then, before) in Discard::ALL.iter().zip(before) {
        let expected = before + u64::from(*reason_then == reason);
        assert_eq!(rig.discarded(*reason_then), expected, "{what}: {}", reason_then.name());
    }
}

/// The good viewer gets what is sent, in the next second as before.
fn assert_goes_on(rig: &mut Rig) {
    let before = rig.viewers[&GOOD].payloads(Kind::Video).len();
    rig.run_for(Duration::from_secs(1));
    let viewer = &rig.viewers[&GOOD];
    assert!(viewer.payloads(Kind::Video).len() > before + 100, "it goes on");
    assert_eq!(viewer.missing(Kind::Video), [0_u64; 0]);
    assert_eq!((rig.closed(GOOD), rig.closed(PUBLISHER)), (None, None));
    assert_eq!((&viewer.broken, &rig.broken), (&vec![], &vec![]));
}

fn seal_rtp(session: SessionId, index: u64, mut packet: Vec<u8>) -> Vec<u8> {
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    let len = packet.len();
    packet.resize(len + 16, 0);
    let sealed = Sealer::new(GCM, &keys(GCM, session, 2)).seal_rtp(index, &mut packet, 12, len);
    packet.truncate(sealed);
    packet
}

fn rtp(flags: u8, payload_type: u8, ssrc: Ssrc, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![flags, payload_type, 0, 7, 0, 0, 0, 9];
    packet.extend(ssrc.0.to_be_bytes());
    packet.extend(payload);
    packet
}

#[test]
fn rtp_that_is_not_right() {
    let mut rig = live();
    let port = PUBLISHERS_PORT;
    let stranger = Ssrc(0xEEEE_0001);
    refused(&mut rig, port, vec![0x80], Discard::RtpShort, "one byte");
    for len in 2..12 {
        let short = rtp(0x80, 96, VIDEO, &[])[..len].to_vec();
        refused(&mut rig, port, short, Discard::RtpShort, "half a header");
    }
    for sources in 1..16 {
        let short = rtp(0x80 | sources, 96, VIDEO, &vec![0; usize::from(sources) * 4 - 1]);
        refused(&mut rig, port, short, Discard::RtpShort, "contributing sources beyond the end");
    }
    for block in [&[0xBE, 0xDE, 0][..], &[0xBE, 0xDE, 0, 1, 0], &[0xBE, 0xDE, 0xFF, 0xFF, 0]] {
        let packet = rtp(0x90, 96, VIDEO, block);
        refused(&mut rig, port, packet, Discard::RtpExtension, "an extension beyond the end");
    }
    for len in [0, 1, 15, 16, 17, 1_000] {
        let forged = rtp(0x80, 96, VIDEO, &vec![0x55; len]);
        refused(&mut rig, port, forged, Discard::SrtpAuth, "forged");
    }
    let others = seal_rtp(BAD, 50, rtp(0x80, 96, VIDEO, &[0; 40]));
    refused(&mut rig, port, others, Discard::SrtpAuth, "sealed by another session");
    for (padding, what) in [(0, "padding of nothing"), (41, "more padding than packet")] {
        let mut packet = rtp(0xA0, 96, stranger, &[0; 40]);
        *packet.last_mut().unwrap() = padding;
        let packet = seal_rtp(PUBLISHER, 60 + u64::from(padding), packet);
        refused(&mut rig, port, packet, Discard::RtpPadding, what);
    }
    let unknown = seal_rtp(PUBLISHER, 120, rtp(0x80, 35, stranger, &[0; 40]));
    refused(&mut rig, port, unknown.clone(), Discard::RtpUnknownSsrc, "nobody's");
    refused(&mut rig, port, unknown, Discard::SrtpReplay, "again");
    let packet = seal_rtp(PUBLISHER, 50, rtp(0x80, 35, VIDEO, &[0; 40]));
    refused(&mut rig, port, packet, Discard::RtpPayloadType, "not negotiated");
    let packet = seal_rtp(BAD, 9, rtp(0x80, 96, VIDEO, &[0; 40]));
    refused(&mut rig, BAD_PORT, packet, Discard::RtpUnknownSsrc, "a viewer's");
    refused(
        &mut rig,
        9_999,
        rtp(0x80, 96, VIDEO, &[0; 40]),
        Discard::UnknownSession,
        "a stranger's",
    );
    let early = SessionId(12);
    rig.add_session(early, Viewer::subscription(early, true));
    take(&mut rig, 3_004, check(early, 1, true));
    refused(&mut rig, 3_004, rtp(0x80, 96, VIDEO, &[0; 40]), Discard::SrtpNoKeys, "before keys");
    assert_goes_on(&mut rig);
}

#[test]
fn a_packet_that_no_datagram_can_carry_on_is_left_out() {
    let mut rig = live();
    let bad_index = 90;
    let drops = rig.counted(Counter::SendDropsError);
    // What the header grows by makes it longer than UDP has room for.
    let packet = seal_rtp(PUBLISHER, bad_index, rtp(0x80, 96, VIDEO, &vec![1; 65_479]));
    take(&mut rig, PUBLISHERS_PORT, packet);
    assert_eq!(rig.counted(Counter::SendDropsError), drops, "before the viewers' first");
    let first = rig.publishers[&PUBLISHER].sent[1].len();
    rig.run_for(Duration::from_millis(10));
    let huge = vec![0x10; 65_479];
    rig.publishers.get_mut(&PUBLISHER).unwrap().payload_bytes = huge.len();
    rig.run_for(Duration::from_millis(40));
    assert!(rig.publishers[&PUBLISHER].sent[1].len() > first);
    rig.publishers.get_mut(&PUBLISHER).unwrap().payload_bytes = 1_100;
    rig.run_for(Duration::from_millis(40));
    assert!(rig.counted(Counter::SendDropsError) > drops);
    let before = rig.viewers[&GOOD].payloads(Kind::Video).len();
    rig.run_for(Duration::from_secs(1));
    assert!(rig.viewers[&GOOD].payloads(Kind::Video).len() > before + 100);
}

#[test]
fn first_bytes_that_are_nobodys() {
    let mut rig = live();
    refused(&mut rig, GOOD_PORT, vec![], Discard::UnknownProtocol, "nothing");
    for first in (4..20).chain(64..128).chain(192..=255) {
        refused(&mut rig, GOOD_PORT, vec![first; 50], Discard::UnknownProtocol, "first byte");
    }
    assert_goes_on(&mut rig);
}

#[test]
fn stun_that_is_not_right() {
    let mut rig = live();
    let good = check(BAD, 2, true);
    let port = BAD_PORT;
    for len in 1..good.len() {
        let reason = Discard::StunMalformed;
        refused(&mut rig, port, good[..len].to_vec(), reason, "ends early");
    }
    refused(&mut rig, port, [&good[..], &[0]].concat(), Discard::StunMalformed, "goes on");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    let end = good.len();
    for (message, reason, what) in [
        (with(&|m| m[4] ^= 1), Discard::StunMalformed, "another cookie"),
        (with(&|m| m[0] = 1), Discard::StunUnexpected, "a response"),
        (with(&|m| m[1] = 0x11), Discard::StunUnexpected, "an indication"),
        (with(&|m| m[1] = 3), Discard::StunMalformed, "a TURN request"),
        (with(&|m| m[end - 1] ^= 1), Discard::StunFingerprint, "a wrong fingerprint"),
        (with(&|m| m[25] ^= 1), Discard::StunFingerprint, "another name"),
        (
            with(&|m| {
                m.truncate(end - 8);
                let len = (m.len() - 20) as u16;
                m[2..4].copy_from_slice(&len.to_be_bytes());
            }),
            Discard::StunFingerprint,
            "without a fingerprint",
        ),
        (check(SessionId(99), 1, true), Discard::StunUnknownUfrag, "nobody's name"),
        (
            check_with(BAD, 1, true, "a-wrong-password-of-22-bytes"),
            Discard::StunIntegrity,
            "forged",
        ),
    ] {
        refused(&mut rig, port, message, reason, what);
    }
    // Whatever single byte is changed, nothing of it counts.
    let answered = rig.counted(Counter::ChecksAnswered);
    for at in 0..end {
        for change in [1, 0x80, 0xFF] {
            take(&mut rig, 4_000, with(&|m| m[at] ^= change));
        }
    }
    assert_eq!(rig.counted(Counter::ChecksAnswered), answered);
    // A path whose owner is alive.
    refused(&mut rig, GOOD_PORT, check(BAD, 3, true), Discard::PathTaken, "another's path");
    assert_goes_on(&mut rig);
}

#[test]
fn dtls_that_nobody_asked_for() {
    let mut rig = live();
    refused(&mut rig, 9_999, vec![22; 60], Discard::DtlsUnknownAddress, "a stranger's");
    refused(&mut rig, BAD_PORT, vec![22; 2_049], Discard::DtlsLimit, "larger than a flight");
    for _ in 0..128 {
        take(&mut rig, BAD_PORT, vec![22; 2_048]);
    }
    for _ in 0..1_000 {
        refused(&mut rig, BAD_PORT, vec![22; 60], Discard::DtlsLimit, "a flood");
    }
    assert_eq!(rig.told(BAD).iter().filter(|name| **name == "dtls").count(), 128);
    assert_goes_on(&mut rig);
}

/// A compound with everything that a viewer says.
fn compound() -> Vec<u8> {
    let mut compound = Vec::new();
    let media = Viewer::ssrc(BAD, Kind::Video);
    let mut writer = rtcp::Writer::new(&mut compound);
    let block = rtcp::ReportBlock {
        ssrc: media,
        fraction_lost: 3,
        cumulative_lost: 4,
        highest: 5,
        jitter: 6,
        last_sr: 7,
        delay_since_last_sr: 8,
    };
    writer.receiver_report(Ssrc(1), &[block]);
    writer.sdes_cname(&[Ssrc(1)], "somebody");
    writer.nack(Ssrc(1), media, &[5, 6, 7, 90]);
    writer.pli(Ssrc(1), media);
    writer.fir(Ssrc(1), media, 9);
    writer.remb(Ssrc(1), 1_000_000, &[media]);
    writer.receiver_reference_time(Ssrc(1), pyforward_core::time::Ntp(1 << 40));
    writer.dlrr(Ssrc(1), &[(media, 1, 2)]);
    writer.bye(&[Ssrc(1)]);
    compound
}

#[test]
fn rtcp_broken_at_every_byte() {
    let mut rig = live();
    let mut sealer = Sealer::new(GCM, &keys(GCM, BAD, 2));
    let good = compound();
    let broken_byte = |at: usize| {
        [1, 0x80, 0xFF].map(|change| {
            let mut compound = good.clone();
            compound[at] ^= change;
            compound
        })
    };
    let cut = (9..good.len()).map(|len| good[..len].to_vec());
    let mut malformed = 0;
    // The first eight bytes are in the clear; what they say decides whose packet it is.
    for mut compound in (8..good.len()).flat_map(broken_byte).chain(cut) {
        let reads = rtcp::parse(&compound).is_ok();
        malformed += u64::from(!reads);
        sealer.seal_rtcp(&mut compound);
        take(&mut rig, BAD_PORT, compound);
        assert_eq!(rig.discarded(Discard::RtcpMalformed), malformed);
    }
    assert!(malformed > 100);
    for mut compound in (0..8).flat_map(broken_byte) {
        sealer.seal_rtcp(&mut compound);
        take(&mut rig, BAD_PORT, compound);
    }
    let mut replayed = good.clone();
    sealer.seal_rtcp(&mut replayed);
    take(&mut rig, BAD_PORT, replayed.clone());
    refused(&mut rig, BAD_PORT, replayed.clone(), Discard::SrtpReplay, "again");
    let last = replayed.len() - 1;
    replayed[last] ^= 4;
    refused(&mut rig, BAD_PORT, replayed.clone(), Discard::SrtpAuth, "forged");
    refused(&mut rig, BAD_PORT, replayed[..20].to_vec(), Discard::RtcpMalformed, "too short");
    refused(&mut rig, 9_999, replayed, Discard::UnknownSession, "a stranger's");
    assert_goes_on(&mut rig);
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// A second publisher with a stream and a viewer of its own, whose peer is this file.
fn add_hostile_publisher(rig: &mut Rig) -> SessionId {
    let (session, stream) = (SessionId(2), StreamId(2));
    rig.command(Command::AddStream { stream });
    let Media::Publish { tracks, .. } = Publisher::media() else { panic!("it publishes") };
    rig.add_session(session, Media::Publish { stream, tracks });
    let viewer = SessionId(13);
    let Media::Subscribe { tracks, cname, .. } = Viewer::subscription(viewer, false) else {
        panic!("it watches")
    };
    rig.add_session(viewer, Media::Subscribe { stream, tracks, cname });
    take(rig, 2_002, check(session, 1, true));
    take(rig, 3_006, check(viewer, 1, true));
    rig.install_keys(session, GCM);
    rig.install_keys(viewer, GCM);
    session
}

/// Random datagrams, half of them close to good ones, some even sealed.
struct Storm {
    samples: Vec<Vec<u8>>,
    hostile: SessionId,
    publishers: Sealer,
    viewers: Sealer,
    index: u64,
}

impl Storm {
    fn gust(&mut self, rig: &mut Rig) -> (u16, Vec<u8>) {
        let port =
            [GOOD_PORT, BAD_PORT, PUBLISHERS_PORT, 2_002, 3_006, 4_000 + rig.random() as u16 % 50]
                [rig.random() as usize % 6];
        let mut bytes = if rig.random().is_multiple_of(4) {
            (0..rig.random() % 1_500).map(|_| rig.random() as u8).collect()
        } else {
            self.samples[rig.random() as usize % self.samples.len()].clone()
        };
        for _ in 0..rig.random() % 4 {
            let at = rig.random() as usize % bytes.len().max(1);
            match rig.random() % 4 {
                _ if bytes.is_empty() => bytes.push(rig.random() as u8),
                0 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][rig.random() as usize % 5],
                1 => bytes[at] ^= 1 << (rig.random() % 8),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, rig.random() as u8),
            }
        }
        match rig.random() % 3 {
            0 => self.as_publisher(rig, bytes),
            1 if bytes.len() >= 8 => {
                self.viewers.seal_rtcp(&mut bytes);
                (BAD_PORT, bytes)
            }
            _ => (port, bytes),
        }
    }

    /// Sealed as the hostile publisher's, with numbers that jump, stand and go back.
    fn as_publisher(&mut self, rig: &mut Rig, mut bytes: Vec<u8>) -> (u16, Vec<u8>) {
        bytes.resize(bytes.len().max(12), 0);
        self.index = match rig.random() % 20 {
            0 => self.index + rig.random() % 3_000,
            1 => self.index.saturating_sub(rig.random() % 100),
            _ => self.index + 1,
        };
        bytes[2..4].copy_from_slice(&(self.index as u16).to_be_bytes());
        let Ok(view) = pyforward_core::rtp::View::parse(&bytes) else { return (2_002, bytes) };
        let len = bytes.len();
        bytes.resize(len + 16, 0);
        let sealed = self.publishers.seal_rtp(self.index, &mut bytes, view.header_len, len);
        bytes.truncate(sealed);
        (2_002, bytes)
    }

    fn check_again(&self, rig: &mut Rig, transaction: u64) {
        take(rig, BAD_PORT, check(BAD, transaction, true));
        take(rig, 2_002, check(self.hostile, transaction, true));
    }
}

#[test]
fn a_storm_of_anything() {
    let seconds = std::env::var("PYFORWARD_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let budget = Duration::from_secs_f64(seconds.unwrap_or(1.0));
    let mut rig = live();
    let hostile = add_hostile_publisher(&mut rig);
    let extended = [&[0xBE, 0xDE, 0, 1, 0x40, b'1', 0, 0][..], &[0x10, 0, 1, 2, 3, 4]].concat();
    let mut storm = Storm {
        samples: vec![
            check(BAD, 9, true),
            check(SessionId(77), 9, false),
            vec![22; 200],
            rtp(0x80, 96, VIDEO, &[0x10, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
            rtp(0x80, 96 | 0x80, VIDEO, &[0; 1_100]),
            rtp(0xA0, 97, rig::publisher::VIDEO_RTX, &[0, 7, 0x10, 0, 1, 2, 3, 4]),
            rtp(0x90, 96, VIDEO, &extended),
            rtp(0x80, 111, rig::publisher::AUDIO, &[5; 80]),
            compound(),
        ],
        hostile,
        publishers: Sealer::new(GCM, &keys(GCM, hostile, 2)),
        viewers: Sealer::new(GCM, &keys(GCM, BAD, 2)),
        index: 500,
    };
    let (started, before, mut gusts) = (Instant::now(), resident(), 0_u64);
    while started.elapsed() < budget {
        for _ in 0..200 {
            let (port, mut bytes) = storm.gust(&mut rig);
            rig::hand(&mut rig.shards[0], rig.now, path(port), &mut bytes);
            gusts += 1;
        }
        rig.settle();
        rig.run_for(Duration::from_millis(2));
        if gusts.is_multiple_of(100_000) {
            storm.check_again(&mut rig, gusts);
        }
        // What the rig itself keeps of it is not the shard's.
        rig.trains.clear();
    }
    let discarded: u64 = Discard::ALL.iter().map(|reason| rig.discarded(*reason)).sum();
    assert!(discarded > gusts / 4, "{discarded} of {gusts}");
    assert!(rig.events.len() < 2_000, "{} events", rig.events.len());
    let grown = resident().saturating_sub(before) >> 20;
    assert!(grown < 200, "{grown} MiB more after {gusts} datagrams, most of it the rig's");
    assert_goes_on(&mut rig);
}

#[test]
fn a_thousand_viewers_ask_for_what_the_stream_lacks() {
    const VIEWERS: u64 = 1_000;
    let mut rig = Rig::new(1);
    rig.add_session(PUBLISHER, Publisher::media());
    let mut publisher = Publisher::new(PUBLISHER, address(PUBLISHERS_PORT), rig.now, 100);
    publisher.payload_bytes = 60;
    rig.publishers.insert(PUBLISHER, publisher);
    let session = |n: u64| SessionId(1_000 + n);
    let port = |n: u64| 5_000 + n as u16;
    for n in 0..VIEWERS {
        rig.add_session(session(n), Viewer::subscription(session(n), true));
        take(&mut rig, port(n), check(session(n), 1, true));
        rig.install_keys(session(n), GCM);
    }
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(PUBLISHER, GCM);
    rig.run_for(Duration::from_millis(300));

    let publisher = rig.publishers.get_mut(&PUBLISHER).unwrap();
    publisher.lost_for_good = Some(publisher.sent[1].len() + 2);
    let lacking: Vec<u16> = (0..VIEWERS)
        .map(|n| rig.newest(Viewer::ssrc(session(n), Kind::Video)).unwrap().wrapping_add(2))
        .collect();
    rig.run_for(Duration::from_millis(40));
    let mut sealers: Vec<Sealer> =
        (0..VIEWERS).map(|n| Sealer::new(GCM, &keys(GCM, session(n), 2))).collect();
    let messages = rig.counted(Counter::MessagesOut);
    for _ in 0..100 {
        for n in 0..VIEWERS {
            let mut compound = Vec::new();
            let media = Viewer::ssrc(session(n), Kind::Video);
            rtcp::Writer::new(&mut compound).nack(Ssrc(1), media, &[lacking[n as usize]]);
            sealers[n as usize].seal_rtcp(&mut compound);
            rig::hand(&mut rig.shards[0], rig.now, path(port(n)), &mut compound);
        }
    }
    rig.settle();
    assert_eq!(rig.counted(Counter::NacksMissed), 100 * VIEWERS);
    assert_eq!(rig.counted(Counter::NacksServed), 0);
    assert_eq!(rig.counted(Counter::MessagesOut), messages, "nothing is sent for it");
    rig.run_for(Duration::from_secs(2));
    // Upstream it is asked for as if nobody had said a word.
    let asked = &rig.publishers[&PUBLISHER].asked;
    assert!((1..=10).contains(&asked.len()), "{asked:?}");
    let round_trip = Duration::from_millis(20);
    assert!(asked.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= round_trip), "{asked:?}");
}

/// Asks for the last `count` packets of a viewer's video, at once.
fn ask_for_the_last(rig: &mut Rig, session: SessionId, port: u16, sealer: &mut Sealer, count: u16) {
    let media = Viewer::ssrc(session, Kind::Video);
    let newest = rig.newest(media).unwrap();
    let numbers: Vec<u16> = (0..count).map(|back| newest.wrapping_sub(back)).collect();
    for chunk in numbers.chunks(200) {
        let mut compound = Vec::new();
        rtcp::Writer::new(&mut compound).nack(Ssrc(1), media, chunk);
        sealer.seal_rtcp(&mut compound);
        rig::hand(&mut rig.shards[0], rig.now, path(port), &mut compound);
    }
    rig.settle();
}

#[test]
fn retransmissions_have_a_budget_for_each_viewer_and_one_for_all() {
    const GREEDY: u64 = 30;
    const ASKED: u16 = 700;
    let mut rig = live();
    let greedy = |n: u64| (SessionId(1_000 + n), 5_000 + n as u16);
    for n in 0..GREEDY {
        let (session, port) = greedy(n);
        rig.add_session(session, Viewer::subscription(session, true));
        take(&mut rig, port, check(session, 1, true));
        rig.install_keys(session, GCM);
    }
    rig.publishers.get_mut(&PUBLISHER).unwrap().frame_packets = (40, 40);
    rig.run_for(Duration::from_secs(3));
    let mut sealers: Vec<Sealer> =
        (0..GREEDY).map(|n| Sealer::new(GCM, &keys(GCM, greedy(n).0, 2))).collect();
    let sent = |rig: &Rig| rig.counted(Counter::BytesOutRetransmission);

    // One alone: a burst, then what time brings. Each is reckoned a little larger than it is.
    let ((session, port), before) = (greedy(0), sent(&rig));
    ask_for_the_last(&mut rig, session, port, &mut sealers[0], ASKED);
    let burst = sent(&rig) - before;
    assert!((350_000..=500_000).contains(&burst), "{burst}");
    let refused = rig.counted(Counter::NacksRefused);
    assert!(refused > 200, "{refused}");
    rig.run_for(Duration::from_millis(100));
    let before = sent(&rig);
    ask_for_the_last(&mut rig, session, port, &mut sealers[0], ASKED);
    let more = sent(&rig) - before;
    assert!((70_000..=101_000).contains(&more), "{more}");

    // All together: less than the sum of what each might have alone.
    rig.run_for(Duration::from_secs(3));
    let before = sent(&rig);
    for n in 0..GREEDY {
        let (session, port) = greedy(n);
        ask_for_the_last(&mut rig, session, port, &mut sealers[n as usize], ASKED);
    }
    let together = sent(&rig) - before;
    assert!((7_000_000..=10_000_000).contains(&together), "{together}");
    // What is not sent again is sent all the same.
    assert_goes_on(&mut rig);
}
