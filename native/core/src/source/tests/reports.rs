//! What the publisher is told besides NACK and PLI, and what its reports tell.

use super::*;
use crate::rtcp::ReportBlock;

fn sender_report(ssrc: Ssrc, ntp: Ntp, rtp_timestamp: u32) -> Item<'static> {
    Item::SenderReport { ssrc, ntp, rtp_timestamp, packets: 1, octets: 1 }
}

fn blocks(compound: &[u8]) -> Vec<(Ssrc, ReportBlock)> {
    let block = |item| match item {
        Item::Report { from, block } => Some((from, block)),
        _ => None,
    };
    rtcp::parse(compound).unwrap().filter_map(block).collect()
}

/// (payload type 205, format) of the packets of a compound.
fn formats(compound: &[u8]) -> Vec<(u8, u8)> {
    let (mut rest, mut formats) = (compound, Vec::new());
    while let [first, kind, l0, l1, ..] = *rest {
        formats.push((kind, first & 0x1f));
        rest = &rest[4 + 4 * usize::from(u16::from_be_bytes([l0, l1]))..];
    }
    formats
}

#[test]
fn a_report_each_second_for_each_track() {
    let mut rig = Rig::new(vec![audio(), video()]);
    assert_eq!(rig.source.poll_timeout(), Time::NEVER, "nothing to tell before the first packet");
    rig.accept([opus(5, 0), vp8(9, 0), vp8(11, 0).marked()]);
    rig.pass(250);
    rig.tell(&sender_report(VIDEO, Ntp(0x1234_5678_9abc_def0), 0));
    rig.compounds();
    rig.pass(750);
    let compounds = rig.compounds();
    let report = &compounds[0];
    let blocks = blocks(report);
    let senders: Vec<(Ssrc, Ssrc)> = blocks.iter().map(|(from, b)| (*from, b.ssrc)).collect();
    assert_eq!(senders, [(FEEDBACK_AUDIO, AUDIO), (FEEDBACK, VIDEO)]);
    let video = blocks[1].1;
    assert_eq!((video.highest, video.cumulative_lost, video.fraction_lost), (11, 1, 85));
    assert_eq!((video.last_sr, video.delay_since_last_sr), (0x5678_9abc, 49_152));
    assert!((rig.source.figures(rig.now).loss - 85.0 / 256.0).abs() < 1e-9);
    assert!(formats(report).iter().any(|(kind, _)| *kind == 202), "CNAME");
}

#[test]
fn the_round_trip_comes_from_dlrr() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8(1, 0).marked()]);
    assert_eq!(rig.source.figures(rig.now).rtt_ms, None);
    rig.pass(1_000);
    let compounds = rig.compounds();
    let reference = rtcp::parse(&compounds[0]).unwrap().find_map(|item| match item {
        Item::ReceiverReferenceTime { ssrc, ntp } => Some((ssrc, ntp)),
        _ => None,
    });
    let (ssrc, ntp) = reference.unwrap();
    assert_eq!((ssrc, ntp), (FEEDBACK, WALL_CLOCK.ntp(rig.now)));
    // The publisher answers after 10 ms; all in all 50 ms pass.
    rig.pass(50);
    let delay = 655;
    rig.tell(&Item::Dlrr { ssrc: Ssrc(4), last_rr: ntp.middle(), delay: 0 });
    assert_eq!(rig.source.figures(rig.now).rtt_ms, None, "an answer to somebody else");
    rig.tell(&Item::Dlrr { ssrc, last_rr: ntp.middle(), delay });
    let rtt_ms = rig.source.figures(rig.now).rtt_ms.unwrap();
    assert!((rtt_ms - 40.0).abs() < 0.1, "{rtt_ms}");
}

#[test]
fn a_publishers_reference_time_is_answered() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8(1, 0).marked()]);
    for n in 0..100 {
        rig.tell(&Item::ReceiverReferenceTime { ssrc: Ssrc(n), ntp: Ntp(7 << 16) });
    }
    rig.pass(1_000);
    let compounds = rig.compounds();
    let answers: Vec<(Ssrc, u32, u32)> = rtcp::parse(&compounds[0])
        .unwrap()
        .filter_map(|item| match item {
            Item::Dlrr { ssrc, last_rr, delay } => Some((ssrc, last_rr, delay)),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [0, 1, 2, 3].map(|n| (Ssrc(n), 7, 65_536)));
    rig.pass(1_000);
    assert!(!formats(&rig.compounds()[0]).contains(&(207, 5)));
}

#[test]
fn transport_wide_feedback_covers_all_that_arrived() {
    let mut rig = Rig::new(vec![audio(), video()]);
    let numbered = |packet: Rtp, n: u16| packet.with(id::TRANSPORT_CC, &n.to_be_bytes());
    rig.accept([
        numbered(opus(1, 0), 1),
        numbered(vp8(1, 0).marked(), 2),
        numbered(probe(2, 0), 3),
        numbered(rtx(&vp8(3, 0), 1), 4),
    ]);
    assert_eq!(rig.send(numbered(vp8(1, 0), 5)), Err(Discard::RtpDuplicate));
    rig.compounds();
    rig.pass(50);
    let compounds = rig.compounds();
    let feedback = compounds.iter().find(|c| formats(c).contains(&(205, 15))).unwrap();
    // Behind the empty report (8) and the CNAME (20): base sequence and status count.
    let at = feedback.len() - formats_tail(feedback);
    assert_eq!(feedback[at + 12..at + 16], [0, 1, 0, 5]);
}

/// Length of the last packet of a compound.
fn formats_tail(compound: &[u8]) -> usize {
    let (mut rest, mut last) = (compound, 0);
    while let [_, _, l0, l1, ..] = *rest {
        last = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
        rest = &rest[last..];
    }
    last
}

#[test]
fn remb_only_where_nothing_better_was_negotiated() {
    let remb = |transport_cc| {
        let mut rig = Rig::new(vec![PublishTrack { remb: true, transport_cc, ..video() }]);
        rig.accept([vp8(1, 0).marked()]);
        rig.pass(1_000);
        let compounds = rig.compounds();
        rtcp::parse(&compounds[0]).unwrap().find_map(|item| match item {
            Item::Remb { bitrate_bps } => Some(bitrate_bps),
            _ => None,
        })
    };
    assert_eq!(remb(true), None);
    let told = remb(false).unwrap();
    assert!((19_900_000..=20_000_000).contains(&told), "{told}");
}

#[test]
fn both_tracks_follow_one_clock_of_the_publishers() {
    let mut rig = Rig::new(vec![audio(), video()]);
    rig.accept([opus(1, 0), vp8(1, 0).marked()]);
    let theirs = |ms: u64| Ntp((77 << 32) + (ms << 32) / 1_000);
    // Made together, sent together; the second takes 30 ms longer.
    rig.pass(20);
    let audio = rig.tell(&sender_report(AUDIO, theirs(0), 480)).unwrap();
    rig.pass(30);
    let video = rig.tell(&sender_report(VIDEO, theirs(0), 900)).unwrap();
    assert_eq!((audio.kind, audio.clock_rate, audio.rtp_timestamp), (Kind::Audio, 48_000, 480));
    assert_eq!((video.kind, video.rtp_timestamp), (Kind::Video, 900));
    assert_eq!(audio.ntp, WALL_CLOCK.ntp(Time(20_000)));
    let apart_ms = (video.ntp.0 - audio.ntp.0) >> 22;
    assert!(apart_ms <= 1, "network jitter is not a difference of clocks");
    // A clock that was set is followed at once; one that says nothing is ours.
    let set = rig.tell(&sender_report(VIDEO, theirs(9_000_000), 900)).unwrap();
    assert_eq!(set.ntp, WALL_CLOCK.ntp(rig.now));
    let none = rig.tell(&sender_report(VIDEO, Ntp(0), 900)).unwrap();
    assert_eq!(none.ntp, WALL_CLOCK.ntp(rig.now));
    assert_eq!(rig.tell(&sender_report(Ssrc(1), theirs(0), 0)), None);
}

#[test]
fn figures_of_a_second() {
    let mut rig = Rig::new(vec![audio(), video()]);
    assert_eq!(rig.source.codecs(), [(Kind::Audio, Codec::Opus), (Kind::Video, Codec::Vp8)]);
    for n in 0..100 {
        rig.accept([opus(n, 0)]);
        rig.pass(10);
    }
    // 12 of header, 80 of payload, 16 of tag.
    let figures = rig.source.figures(rig.now);
    assert_eq!((figures.packets, figures.bytes), (100, 10_800));
    assert_eq!(figures.bitrate_bps, 86_400);
    rig.pass(1_500);
    assert_eq!(rig.source.figures(rig.now).bitrate_bps, 0);
}
