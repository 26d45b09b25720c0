//! Gaps, retransmissions, duplicates, padding.

use super::*;

const FIRST: u64 = 1 << 16;

#[test]
fn a_gap_is_asked_for_at_once_and_closed_by_rtx() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8(10, 0), vp8(12, 0), vp8(15, 0).marked()]);
    assert_eq!(rig.positions(), [FIRST + 10, FIRST + 12, FIRST + 15]);
    assert_eq!(rig.nacks(), [(VIDEO, vec![11, 13, 14])]);
    assert_eq!(rig.nacks(), []);
    rig.pass(30);
    rig.accept([rtx(&vp8(13, 0), 1)]);
    assert_eq!(rig.positions(), [FIRST + 13], "at once, though a frame never had it");
    rig.pass(30);
    assert_eq!(rig.nacks(), [(VIDEO, vec![11, 14])]);
    let figures = rig.source.figures(rig.now);
    assert_eq!((figures.packets, figures.nacks, figures.repaired), (4, 5, 1));
    assert_eq!(rig.count(Counter::PacketsInRetransmission), 1);
    assert_eq!((rig.count(Counter::PacketsIn), rig.count(Counter::NacksOut)), (3, 5));
}

#[test]
fn ffmpeg_is_sent_a_nack_alone() {
    // FFmpeg 8.1 looks at the first packet of a compound only, and wants no other behind it.
    let mut rig = Rig::new(vec![PublishTrack { reduced_size: true, ..video() }]);
    rig.accept([vp8(10, 0), vp8(12, 0)]);
    rig.want_keyframe();
    let mut asked = Vec::new();
    let mut out = Vec::new();
    while rig.source.poll_rtcp(rig.now, &mut out) {
        let items: Vec<_> = rtcp::parse(&out).unwrap().collect();
        asked.push((out[0] & 0x1F, out[1], items.len()));
        out.clear();
    }
    assert_eq!(asked, [(1, 206, 1), (1, 205, 1)], "PLI and NACK, each by itself");
}

#[test]
fn rtx_restores_the_original() {
    let mut rig = Rig::new(vec![video()]);
    let mut original = vp8(11, 3_000).with(id::COLOR_SPACE, &[1, 2, 3, 4]).marked();
    original.payload = (0..=255).collect();
    rig.accept([vp8(10, 3_000), vp8(12, 6_000), rtx(&original, 900)]);
    let packets = rig.packets();
    let repaired = packets.iter().find(|packet| packet.sequence == FIRST + 11).unwrap();
    assert_eq!(repaired.payload(), original.payload);
    assert_eq!((repaired.timestamp, repaired.marker), (3_000, true));
    assert_eq!(repaired.payload_type, PayloadType(96));
    assert_eq!(repaired.extension(Extension::ColorSpace), Some(&[1, 2, 3, 4][..]));
}

#[test]
fn obs_repairs_by_plain_retransmission() {
    let mut rig = Rig::new(vec![PublishTrack { rtx_payload_type: None, ..video() }]);
    rig.accept([vp8(10, 0).marked(), vp8(12, 3_000).marked()]);
    rig.pass(300);
    rig.accept([vp8(11, 3_000)]);
    assert_eq!(rig.positions(), [FIRST + 10, FIRST + 12, FIRST + 11]);
    assert_eq!(rig.count(Counter::PacketsInRetransmission), 1);
    assert_eq!(rig.send(vp8(11, 3_000)), Err(Discard::RtpDuplicate));
}

#[test]
fn rtx_that_says_nothing_is_refused_or_counted_as_a_probe() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8(10, 0).marked()]);
    assert_eq!(rig.send(rtx(&vp8(10, 0), 1)), Err(Discard::RtpRtx), "it is here");
    let short = Rtp { payload: vec![0], ..rtx(&vp8(10, 0), 2) };
    assert_eq!(rig.send(short), Err(Discard::RtpRtx));
    assert_eq!(rig.send(rtx(&vp8(30_000, 0), 3)), Err(Discard::RtpRtx), "far ahead of all");
    rig.accept([Rtp { payload: vec![], padding: 200, ..rtx(&vp8(10, 0), 4) }]);
    assert_eq!(rig.count(Counter::PacketsInProbe), 1);
    assert_eq!(rig.positions().len(), 1);
}

#[test]
fn a_packet_that_never_comes_is_given_up_and_a_keyframe_is_asked_for() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8_key(10, 0).marked(), vp8(12, 3_000).marked()]);
    assert_eq!(rig.plis(), []);
    rig.pass(1_001);
    assert_eq!(rig.count(Counter::PacketsLost), 1);
    assert_eq!(rig.source.figures(rig.now).lost, 1);
    assert!(rig.count(Counter::NacksOut) >= 9, "tried before");
    assert_eq!(rig.plis(), [VIDEO]);
    // It may still come.
    rig.accept([rtx(&vp8(11, 3_000), 5)]);
}

#[test]
fn without_nack_a_gap_costs_a_keyframe() {
    let mut rig = Rig::new(vec![PublishTrack { nack: false, ..video() }]);
    rig.accept([vp8_key(10, 0).marked(), vp8(12, 3_000).marked()]);
    assert_eq!(rig.nacks(), []);
    rig.pass(150);
    assert_eq!(rig.plis(), [VIDEO]);
}

#[test]
fn lost_audio_asks_for_nothing() {
    let mut rig = Rig::new(vec![audio(), video()]);
    rig.accept([vp8_key(1, 0).marked(), opus(1, 0), opus(5, 0)]);
    rig.pass(900);
    assert_eq!((rig.plis(), rig.count(Counter::PacketsLost)), (vec![], 3));
}

#[test]
fn chromiums_probes_leave_no_gap() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8(10, 0).marked(), probe(11, 0), probe(12, 0), vp8(13, 3_000).marked()]);
    rig.accept([probe(14, 3_000), vp8(15, 6_000).marked()]);
    assert_eq!(rig.positions(), [10, 11, 12].map(|n| FIRST + n));
    assert_eq!(rig.count(Counter::PacketsInPadding), 3);
    assert_eq!(rig.nacks(), []);
    assert_eq!(rig.send(probe(12, 0)), Err(Discard::RtpDuplicate));
}

#[test]
fn a_late_probe_is_sent_empty_because_its_place_is_taken() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8(10, 0).marked(), vp8(12, 3_000).marked(), probe(11, 0)]);
    let packets = rig.packets();
    let positions: Vec<u64> = packets.iter().map(|packet| packet.sequence - FIRST).collect();
    assert_eq!(positions, [10, 12, 11]);
    assert!(packets[2].payload().is_empty() && !packets[2].marker);
}

#[test]
fn padding_behind_a_payload_is_stripped() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([Rtp { padding: 13, ..vp8(10, 0) }.marked()]);
    let packets = rig.packets();
    assert_eq!((packets[0].payload().len(), packets[0].padding), (1_000, 0));
}

#[test]
fn a_publisher_that_starts_over_is_followed_with_one_position_left_out() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8_key(10, 0).marked(), vp8(20_000, 3_000).marked()]);
    assert_eq!(rig.positions(), [FIRST + 10, FIRST + 12]);
    assert_eq!((rig.nacks(), rig.count(Counter::PacketsLost)), (vec![], 19_989));
}

#[test]
fn bad_rtcp_round_trips_do_not_slow_repair() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8(10, 0).marked()]);
    rig.tell(&Item::Dlrr { ssrc: FEEDBACK, last_rr: 1, delay: u32::MAX });
    rig.accept([vp8(12, 0).marked()]);
    rig.pass(60);
    assert_eq!(rig.count(Counter::NacksOut), 2);
}

/// Reports tell that one packet of two is lost; what then is asked for behind these packets.
fn rest_asked_for(config: SourceConfig, tail: Vec<Rtp>) -> Vec<(Ssrc, Vec<u16>)> {
    let mut rig = Rig::with(vec![audio(), video()], config);
    rig.accept([vp8(10, 0).marked(), vp8(12, 3_000).marked(), vp8(11, 3_000)]);
    rig.accept([vp8(14, 6_000).marked()]);
    rig.pass(1_000);
    rig.compounds();
    rig.accept([Rtp { sequence: 13, ..vp8(13, 6_000) }]);
    rig.accept(tail);
    rig.pass(10);
    rig.nacks()
}

#[test]
fn on_a_lossy_way_a_frame_without_its_end_is_asked_for_it() {
    let behind = |tail| rest_asked_for(config(), tail);
    assert_eq!(behind(vec![vp8(15, 9_000), vp8(16, 9_000)]), [(VIDEO, vec![17])]);
    assert_eq!(behind(vec![vp8(15, 9_000).marked()]), [], "it is whole");
    assert_eq!(behind(vec![vp8(15, 9_000).marked(), probe(16, 9_000)]), [], "padding is no frame");
    assert_eq!(behind(vec![opus(1, 0)]), [], "audio has no frames, and no NACK");
    let plain = SourceConfig { repeats: false, ..config() };
    assert_eq!(rest_asked_for(plain, vec![vp8(15, 9_000)]), [], "switched off");
}
