//! Keyframes, parameter sets, playout delay, frames into departures.

use super::*;
use crate::rtp::codec::h264;

const FIRST: u64 = 1 << 16;
const SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f];
const PPS: &[u8] = &[0x68, 0xce];
/// The start of an IDR picture's first slice, and of another picture's.
const IDR: &[u8] = &[0x65, 0x88, 1, 2, 3];
const SLICE: &[u8] = &[0x41, 0x9a, 1, 2, 3];

fn h264_track() -> PublishTrack {
    PublishTrack { codec: Codec::H264, ..video() }
}

fn h264_packet(sequence: u16, timestamp: u32, payload: &[u8]) -> Rtp {
    Rtp { payload: payload.to_vec(), ..vp8(sequence, timestamp) }
}

fn sets() -> Vec<u8> {
    let mut out = Vec::new();
    h264::stap_a(&[SPS, PPS], &mut out);
    out
}

#[test]
fn a_frame_is_one_departure_and_one_train() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8_key(1, 0), vp8(2, 0)]);
    assert!(rig.departures().is_empty());
    assert_eq!(rig.source.poll_timeout(), Time(4_000));
    rig.accept([vp8(3, 0).marked()]);
    let departures = rig.departures();
    assert_eq!((departures.len(), departures[0].packets.len()), (1, 3));
    assert_eq!(departures[0].trains, [0]);
    assert_eq!((departures[0].stream, departures[0].publisher), (StreamId(1), SessionId(2)));
    let keyframes: Vec<bool> = departures[0].packets.iter().map(|p| p.keyframe).collect();
    assert_eq!(keyframes, [true, false, false]);
}

#[test]
fn the_window_lets_a_frame_go() {
    let mut rig = Rig::new(vec![video()]);
    rig.accept([vp8_key(1, 0), vp8(2, 0)]);
    rig.pass(4);
    assert_eq!(rig.positions().len(), 2);
    rig.accept([vp8(3, 0).marked()]);
    assert_eq!(rig.positions(), [FIRST + 3]);
}

#[test]
fn a_window_of_zero_gathers_what_came_together() {
    let mut rig =
        Rig::with(vec![video()], SourceConfig { frame_window: Duration::ZERO, ..config() });
    rig.accept([vp8_key(1, 0), vp8(2, 0)]);
    assert_eq!(rig.source.poll_timeout(), Time(0));
    rig.pass(0);
    assert_eq!(rig.departures().len(), 1);
}

#[test]
fn with_trains_off_nothing_waits_and_nothing_is_padded() {
    let mut rig = Rig::with(vec![video()], SourceConfig { trains: false, ..config() });
    let mut longer = vp8(2, 0);
    longer.payload.push(0);
    rig.accept([vp8_key(1, 0), longer]);
    let departures = rig.departures();
    assert_eq!(departures.len(), 2);
    assert!(departures.iter().all(|d| d.trains == [0] && d.packets[0].padding == 0));
}

#[test]
fn keyframes_are_counted_once_and_measured() {
    let mut rig = Rig::new(vec![video()]);
    for n in 0..3_u16 {
        rig.accept([
            vp8_key(n * 2, u32::from(n) * 180_000),
            vp8_key(n * 2 + 1, u32::from(n) * 180_000),
        ]);
        assert_eq!(rig.source.figures(rig.now).keyframe_interval_ms, (n > 0).then_some(2_000.0));
        rig.pass(2_000);
    }
    assert_eq!(rig.count(Counter::Keyframes), 3);
}

#[test]
fn requests_of_many_viewers_are_one() {
    let mut rig = Rig::new(vec![video()]);
    rig.want_keyframe();
    assert_eq!(rig.plis(), [], "nobody to ask yet");
    rig.accept([vp8(1, 0).marked()]);
    assert_eq!(rig.plis(), [VIDEO]);
    (0..1_000).for_each(|_| rig.want_keyframe());
    assert_eq!(rig.plis(), []);
    rig.accept([vp8_key(2, 3_000).marked()]);
    rig.pass(10);
    rig.want_keyframe();
    assert_eq!(rig.plis(), [], "at most one in the interval");
    rig.pass(490);
    assert_eq!((rig.plis(), rig.count(Counter::KeyframeRequestsOut)), (vec![VIDEO], 2));
}

#[test]
fn fir_only_without_pli_and_numbered() {
    let mut rig = Rig::new(vec![PublishTrack { pli: false, ..video() }]);
    rig.accept([vp8(1, 0).marked()]);
    let mut numbers = Vec::new();
    rig.want_keyframe();
    for _ in 0..2 {
        for compound in rig.compounds() {
            for item in rtcp::parse(&compound).unwrap() {
                match item {
                    Item::Fir { media, seq_nr } => numbers.push((media, seq_nr)),
                    Item::Pli { .. } => panic!("was not negotiated"),
                    _ => {}
                }
            }
        }
        rig.pass(500);
    }
    assert_eq!(numbers, [(VIDEO, 1), (VIDEO, 2)]);
    let mut rig = Rig::new(vec![PublishTrack { pli: false, fir: false, ..video() }]);
    rig.accept([vp8(1, 0).marked()]);
    rig.want_keyframe();
    assert_eq!((rig.compounds().len(), rig.count(Counter::KeyframeRequestsOut)), (0, 0));
}

#[test]
fn obs_ignores_pli_and_is_left_alone() {
    let mut rig = Rig::new(vec![video()]);
    let mut asked = 0;
    for n in 0..300_u16 {
        rig.accept([vp8(n, u32::from(n) * 3_000).marked()]);
        rig.want_keyframe();
        asked += rig.plis().len();
        rig.pass(33);
    }
    assert_eq!(asked, 2);
}

#[test]
fn parameter_sets_from_sdp_go_before_each_idr_in_a_packet_of_their_own() {
    let parameter_sets = vec![SPS.to_vec(), PPS.to_vec()];
    let mut rig = Rig::new(vec![PublishTrack { parameter_sets, ..h264_track() }]);
    rig.accept([
        h264_packet(1, 0, IDR).marked(),
        h264_packet(2, 3_000, SLICE).marked(),
        h264_packet(4, 6_000, IDR).marked(),
        h264_packet(3, 3_000, SLICE),
        h264_packet(5, 9_000, SLICE).marked(),
    ]);
    let departures = rig.departures();
    let first = &departures[0];
    assert_eq!(first.packets[0].payload(), sets());
    assert!(first.packets[0].keyframe && !first.packets[0].marker);
    assert_eq!(first.packets[0].timestamp, first.packets[1].timestamp);
    let positions: Vec<Vec<u64>> = departures
        .iter()
        .map(|d| d.packets.iter().map(|packet| packet.sequence - FIRST).collect())
        .collect();
    // 1 became 2 and 3 became 4: the late packet lies before the second insertion.
    assert_eq!(positions, [vec![1, 2], vec![3], vec![5, 6], vec![4], vec![7]]);
}

#[test]
fn parameter_sets_in_band_are_not_repeated_but_remembered() {
    let mut rig = Rig::new(vec![h264_track()]);
    rig.accept([
        h264_packet(1, 0, &sets()),
        h264_packet(2, 0, IDR).marked(),
        h264_packet(3, 3_000, IDR).marked(),
    ]);
    let payloads: Vec<Vec<u8>> = rig.packets().iter().map(|p| p.payload().to_vec()).collect();
    assert_eq!(payloads, [sets(), IDR.to_vec(), sets(), IDR.to_vec()]);
    assert_eq!(rig.nacks(), []);
}

#[test]
fn parameter_sets_of_another_encoding_are_not_inserted() {
    let mut rig = Rig::new(vec![h264_track()]);
    rig.accept([h264_packet(1, 0, &sets()), h264_packet(2, 0, IDR).marked()]);
    rig.accept([h264_packet(7, 0, IDR).from(99).with(id::MID, b"1").marked()]);
    assert_eq!(rig.packets().len(), 3);
}

#[test]
fn playout_delay_is_repeated_with_each_keyframe() {
    let delay = [0x01, 0x20, 0x03];
    let mut rig = Rig::new(vec![video()]);
    rig.accept([
        vp8_key(1, 0).with(id::PLAYOUT_DELAY, &delay).marked(),
        vp8(2, 3_000).marked(),
        vp8_key(3, 6_000),
        vp8(4, 6_000).marked(),
        vp8(5, 9_000).marked(),
    ]);
    let packets = rig.packets();
    let told: Vec<bool> =
        packets.iter().map(|p| p.extension(Extension::PlayoutDelay) == Some(&delay)).collect();
    assert_eq!(told, [true, false, true, true, false]);
    assert!(packets.iter().all(|packet| packet.payload().len() == 1_000));
}
