//! Sessions on trial: their packets are told by records, their links lose and delay, they report as
//! often as asked; stamps come from one end to the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::command::{Command, Trial};
use pyforward_core::event::Event;
use pyforward_core::ids::SessionId;
use pyforward_core::link::{Link, Links};
use pyforward_core::media::Kind;
use pyforward_core::record::{self, flag};
use rig::STREAM;
use rig::pair::{End, Film, Pair, server, watched};
use rig::publisher::VIDEO;
use rig::viewer::Viewer;

const FILM: SessionId = SessionId(1);
const WATCHING: SessionId = SessionId(10);
const UNKNOWN: u32 = u32::MAX;

fn watching(trial: Trial) -> (Pair, Film) {
    let mut pair = Pair::new(1);
    pair.trial = Some(trial);
    let film = Film::new(&mut pair, End::Server, FILM, STREAM);
    let serves = Viewer::subscription(WATCHING, true);
    pair.join(WATCHING, serves, watched(WATCHING), &[(server(), 1)]);
    pair.run_for(Duration::from_millis(100));
    pair.install_keys(WATCHING);
    (pair, film)
}

/// Arrival, viewer, sequence number, timestamp, counter, latency, size, flags.
type Row = (u64, u32, u32, u32, u32, u32, u16, u16);

fn records(pair: &Pair) -> Vec<Row> {
    let packed = pair.client.events.iter().filter_map(|(_, event)| match event {
        Event::Records { records, .. } => Some(records),
        _ => None,
    });
    packed.flat_map(|packed| packed.chunks(record::LEN).map(row).collect::<Vec<_>>()).collect()
}

fn row(bytes: &[u8]) -> Row {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let half = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
    let arrival = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    (arrival, word(8), word(12), word(16), word(20), word(24), half(28), half(30))
}

/// A packet of VP8 that the film's video track sends.
fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend((3_000 * u32::from(sequence)).to_be_bytes());
    packet.extend(VIDEO.0.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Sends a packet of the film's with room for a stamp, and waits for a frame's time.
fn send(pair: &mut Pair, counter: u32, stamped: bool) {
    let mut payload = vec![0x10, 0, 1, 2];
    payload.extend(b"pfst");
    payload.extend(counter.to_le_bytes());
    payload.resize(4 + 24, 0);
    let packets = vec![packet(counter as u16, &payload)];
    pair.command(End::Server, Command::InjectRtp { session: FILM, packets, stamped });
    pair.run_for(Duration::from_millis(33));
}

fn lossy(loss: f64, delay_ms: u64) -> Link {
    Link { loss, burst: 1.0, delay: Duration::from_millis(delay_ms), seed: 5, ..Link::default() }
}

#[test]
fn every_packet_that_came_is_recorded_once() {
    let trial = Trial { record_as: Some(77), ..Trial::default() };
    let (mut pair, mut film) = watching(trial);
    film.play(&mut pair, End::Server, Duration::from_secs(3));
    pair.run_for(Duration::from_secs(1));
    let report = pair.report(End::Client, WATCHING);
    let rows = records(&pair);
    let received: u64 = report.tracks.iter().map(|track| track.packets_received).sum();
    assert_eq!(rows.len() as u64, received);
    assert!(rows.iter().all(|row| row.1 == 77 && row.5 == UNKNOWN && row.7 & flag::STAMPED == 0));
    let bytes: u64 = rows.iter().map(|row| u64::from(row.6)).sum();
    assert_eq!(bytes, report.tracks.iter().map(|track| track.bytes).sum::<u64>());
    let is = |row: &&Row, flag: u16| row.7 & flag != 0;
    let video = rows.iter().filter(|row| is(row, flag::VIDEO));
    assert_eq!(video.clone().filter(|row| is(row, flag::MARKER)).count() as u64, film.frames);
    // Frames 0 and 60 are keyframes of 20 packets.
    assert_eq!(video.filter(|row| is(row, flag::KEYFRAME)).count(), 40);
    assert!(rows.windows(2).all(|pair| pair[0].0 <= pair[1].0));
}

#[test]
fn without_being_asked_nothing_is_recorded() {
    let (mut pair, mut film) = watching(Trial::default());
    film.play(&mut pair, End::Server, Duration::from_secs(1));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(records(&pair), []);
}

#[test]
fn stamps_tell_when_each_packet_was_sent() {
    let trial = Trial { record_as: Some(1), ..Trial::default() };
    let (mut pair, _) = watching(trial);
    for counter in 0..4 {
        send(&mut pair, counter, counter != 3);
    }
    pair.run_for(Duration::from_millis(100));
    let rows = records(&pair);
    let told: Vec<_> = rows.iter().map(|row| (row.4, row.5, row.7 & flag::INTACT != 0)).collect();
    // 20 ms of way; the last one was not given its time, so that its checksum is wrong.
    assert_eq!(told[..3], [(0, 20_000, true), (1, 20_000, true), (2, 20_000, true)]);
    assert_eq!(told[3], (3, UNKNOWN, false));
}

#[test]
fn a_record_tells_when_its_packet_came_and_not_when_it_was_read() {
    let delayed = Links { inbound: Some(lossy(0.0, 50)), outbound: None };
    for (links, way_us) in [(Links::default(), 20_000), (delayed, 70_000)] {
        let trial = Trial { record_as: Some(1), links, report_interval: None };
        let (mut pair, _) = watching(trial);
        pair.waits = Duration::from_millis(30);
        (0..4).for_each(|counter| send(&mut pair, counter, true));
        pair.run_for(Duration::from_millis(200));
        assert_eq!(records(&pair).iter().map(|row| row.5).collect::<Vec<_>>(), [way_us; 4]);
    }
}

#[test]
fn what_came_before_the_keys_is_recorded_as_it_came() {
    let (mut pair, _) = watching(Trial { record_as: Some(1), ..Trial::default() });
    let late = SessionId(11);
    pair.join(late, Viewer::subscription(late, true), watched(late), &[(server(), 1)]);
    pair.run_for(Duration::from_millis(100));
    pair.install_keys_at(End::Server, late);
    (0..2).for_each(|counter| send(&mut pair, counter, true));
    pair.run_for(Duration::from_millis(500));
    pair.install_keys_at(End::Client, late);
    pair.run_for(Duration::from_millis(100));
    // Of the viewer that had its keys, and of the other.
    assert_eq!(records(&pair).iter().map(|row| row.5).collect::<Vec<_>>(), [20_000; 4]);
}

#[test]
fn losses_are_repaired_over_the_link_and_told_as_repaired() {
    let links = Links { inbound: Some(lossy(0.05, 20)), outbound: Some(lossy(0.05, 20)) };
    let trial = Trial { record_as: Some(1), links, report_interval: None };
    let (mut pair, mut film) = watching(trial);
    pair.delay = Duration::ZERO;
    film.play(&mut pair, End::Server, Duration::from_secs(10));
    pair.run_for(Duration::from_secs(2));
    let report = pair.report(End::Client, WATCHING);
    let video = report.tracks.iter().find(|track| track.kind == Kind::Video).unwrap();
    let share = video.packets_repaired as f64 / video.packets_expected as f64;
    assert!((0.03..0.08).contains(&share), "{share} repaired");
    assert_eq!(video.packets_received, video.packets_expected);
    let repaired = records(&pair).iter().filter(|row| row.7 & flag::REPAIRED != 0).count();
    assert_eq!(repaired as u64, report.tracks.iter().map(|t| t.packets_repaired).sum::<u64>());
}

#[test]
fn reports_come_as_often_as_asked() {
    let reports = |report_interval: Option<Duration>| {
        let (mut pair, mut film) = watching(Trial { report_interval, ..Trial::default() });
        film.play(&mut pair, End::Server, Duration::from_secs(1));
        let before = pair.sent.len();
        film.play(&mut pair, End::Server, Duration::from_secs(4));
        let is_rtcp = |bytes: &[u8]| (128..192).contains(&bytes[0]) && bytes[1] >= 192;
        pair.sent[before..].iter().filter(|(_, _, bytes)| is_rtcp(bytes)).count()
    };
    assert!((4..=5).contains(&reports(None)));
    assert!((39..=41).contains(&reports(Some(Duration::from_millis(100)))));
}

#[test]
fn a_film_that_nobody_stamps_stays_as_it_is() {
    let trial = Trial { record_as: Some(1), ..Trial::default() };
    let (mut pair, _) = watching(trial);
    let payload = [0x10, 0, 9, 9, 9];
    let packets = vec![packet(1, &payload)];
    pair.command(End::Server, Command::InjectRtp { session: FILM, packets, stamped: true });
    pair.run_for(Duration::from_millis(100));
    assert_eq!(records(&pair).iter().map(|row| row.4).collect::<Vec<_>>(), [0]);
}
