//! What holds whatever the network does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::jitter::MAX_MISSING;
use crate::source::gather::tests::check;

/// One packet of a publisher, and what the network does to it.
#[derive(Clone, Debug)]
struct Sent {
    frame_ends: bool,
    key: bool,
    probe: bool,
    audio: bool,
    len: usize,
    color_space: Option<usize>,
    lost: bool,
    duplicated: bool,
    /// How many packets overtake it.
    delay: usize,
    /// Before the next one.
    pause_us: u64,
    /// A lost one comes back by RTX.
    repaired: bool,
}

prop_compose! {
    fn sent()(
        frame_ends in prop::bool::weighted(0.25),
        key in prop::bool::weighted(0.05),
        probe in prop::bool::weighted(0.1),
        audio in prop::bool::weighted(0.1),
        // Sizes as encoders make them: mostly nearly equal.
        len in prop_oneof![3 => 1_140_usize..1_160, 1 => 1_usize..1_300, 1 => Just(1_150)],
        color_space in prop::option::weighted(0.1, prop_oneof![Just(4_usize), Just(28)]),
        lost in prop::bool::weighted(0.1),
        duplicated in prop::bool::weighted(0.05),
        delay in prop_oneof![4 => Just(0_usize), 1 => 0_usize..20],
        pause_us in prop_oneof![3 => 0_u64..500, 1 => 0_u64..40_000],
        repaired in any::<bool>(),
    ) -> Sent {
        Sent {
            frame_ends, key, probe, audio, len, color_space, lost, duplicated, delay, pause_us,
            repaired,
        }
    }
}

/// The packets in the order and number in which they arrive, with pauses before each.
fn arrivals(script: &[Sent], first: u16) -> Vec<(u64, Rtp)> {
    let (mut video, mut voice, mut timestamp) = (first, first, 0_u32);
    let mut arrivals = Vec::new();
    for (n, sent) in script.iter().enumerate() {
        let mut packet = if sent.audio {
            voice = voice.wrapping_add(1);
            opus(voice, u32::from(voice) * 960)
        } else {
            video = video.wrapping_add(1);
            match (sent.probe, sent.key) {
                (true, _) => probe(video, timestamp),
                (false, true) => vp8_key(video, timestamp),
                (false, false) => vp8(video, timestamp),
            }
        };
        if !packet.payload.is_empty() {
            packet.payload.resize(sent.len, 0);
            // Tells where it came from.
            packet.payload.extend_from_slice(&(n as u32).to_be_bytes());
        }
        if let Some(len) = sent.color_space
            && !sent.audio
        {
            packet = packet.with(id::COLOR_SPACE, &vec![9; len]);
        }
        if sent.frame_ends && !sent.audio && !sent.probe {
            packet.marker = true;
        }
        let key = n * 2 + sent.delay * 2;
        if !sent.lost {
            arrivals.push((key, sent.pause_us, packet.clone()));
        } else if sent.repaired && !sent.audio {
            arrivals.push((key + 60, 0, rtx(&packet, n as u16)));
        }
        if sent.duplicated {
            arrivals.push((key + 9, 0, packet));
        }
        if sent.frame_ends && !sent.audio {
            timestamp = timestamp.wrapping_add(3_000);
        }
    }
    arrivals.sort_by_key(|(key, _, _)| *key);
    arrivals.into_iter().map(|(_, pause_us, packet)| (pause_us, packet)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Each position is given out once, trains and padding keep their rules, what arrived in order
    /// leaves in order, payloads are unaltered, and nothing that arrived is kept back.
    #[test]
    fn departures_keep_their_rules(
        script in prop::collection::vec(sent(), 1..200),
        first in prop_oneof![Just(65_500_u16), any::<u16>()],
        padding in any::<bool>(),
        trains in prop::bool::weighted(0.8),
    ) {
        let mut rig = Rig::with(vec![audio(), video()], SourceConfig { padding, trains, ..config() });
        let mut positions: BTreeMap<Kind_, BTreeSet<u64>> = BTreeMap::new();
        let mut left: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut expected: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut in_order: BTreeMap<Kind_, Vec<Vec<u8>>> = BTreeMap::new();
        let mut departed: BTreeMap<Kind_, Vec<Vec<u8>>> = BTreeMap::new();
        let mut newest: BTreeMap<Kind_, u16> = BTreeMap::new();
        let mut collect = |rig: &mut Rig| {
            for departure in rig.departures() {
                check(&departure, padding);
                prop_assert!(trains || departure.packets.len() == 1);
                for packet in &departure.packets {
                    let kind = packet.kind as u8;
                    prop_assert!(positions.entry(kind).or_default().insert(packet.sequence));
                    if !packet.payload().is_empty() {
                        *left.entry(packet.payload().to_vec()).or_default() += 1;
                        departed.entry(kind).or_default().push(packet.payload().to_vec());
                    }
                }
            }
            Ok(())
        };
        for (pause_us, packet) in arrivals(&script, first) {
            let result = rig.send(packet.clone());
            let is_rtx = packet.payload_type == 97;
            let payload = packet.payload.get(if is_rtx { 2 } else { 0 }..).unwrap_or(&[]).to_vec();
            if result.is_ok() && !payload.is_empty() {
                expected.insert(payload.clone());
            }
            let kind = u8::from(packet.payload_type != 111);
            let ahead = newest.get(&kind).is_none_or(|newest| {
                packet.sequence.wrapping_sub(*newest).cast_signed() > 0
            });
            if result.is_ok() && !is_rtx && ahead {
                newest.insert(kind, packet.sequence);
                if !payload.is_empty() {
                    in_order.entry(kind).or_default().push(payload);
                }
            }
            collect(&mut rig)?;
            let bounded = rig.source.tracks.iter().all(|track| {
                track.nacks.len() <= MAX_MISSING
                    && track.encodings.iter().all(|e| e.jitter.missing() <= MAX_MISSING)
            });
            prop_assert!(bounded);
            let until = rig.now + Duration::from_micros(pause_us);
            if rig.source.poll_timeout() <= until {
                rig.now = until;
                rig.source.handle_timeout(until, &mut rig.stats);
                collect(&mut rig)?;
            }
            rig.now = until;
        }
        rig.pass(10);
        collect(&mut rig)?;
        prop_assert!(left.values().all(|times| *times == 1));
        prop_assert_eq!(left.keys().cloned().collect::<BTreeSet<_>>(), expected);
        for (kind, payloads) in in_order {
            let wanted: BTreeSet<_> = payloads.iter().cloned().collect();
            let mut seen = departed.remove(&kind).unwrap_or_default();
            seen.retain(|payload| wanted.contains(payload));
            prop_assert_eq!(seen, payloads);
        }
    }

    /// Without loss there is no gap: probes are closed up, insertions fit.
    #[test]
    fn without_loss_positions_have_no_gap(
        mut script in prop::collection::vec(sent(), 1..200),
        first in any::<u16>(),
    ) {
        for sent in &mut script {
            (sent.lost, sent.delay, sent.duplicated, sent.audio) = (false, 0, false, false);
        }
        let mut rig = Rig::new(vec![video()]);
        let mut next = None;
        for (pause_us, packet) in arrivals(&script, first) {
            rig.send(packet).unwrap();
            rig.pass(pause_us / 1_000);
            for position in rig.positions() {
                prop_assert_eq!(next.unwrap_or(position), position);
                next = Some(position + 1);
            }
        }
        prop_assert_eq!(rig.count(Counter::NacksOut), 0);
    }

    /// Bytes of any kind are refused or accepted, and nothing grows.
    #[test]
    fn any_bytes_do_no_harm(
        packets in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..60), 0_u8..6, any::<u16>()), 1..400),
    ) {
        let mut rig = Rig::new(vec![audio(), PublishTrack { codec: Codec::H264, ..video() }]);
        for (mut bytes, kind, sequence) in packets {
            if let Some(header) = bytes.get_mut(..12) {
                header[0] = (header[0] & 0x3f) | 0x80;
                header[1] = (header[1] & 0x80) | [96, 97, 111, 96, 97, 0][usize::from(kind)];
                header[2..4].copy_from_slice(&sequence.to_be_bytes());
                header[8..10].copy_from_slice(&[0, 0]);
                if kind < 3 {
                    header[10..12].copy_from_slice(&[[0x11, 0x11], [0x22, 0x22], [0x33, 0x33]][usize::from(kind)]);
                }
            }
            if let Ok(view) = View::parse(&bytes) {
                let _ = rig.source.handle_rtp(rig.now, &view, &bytes, bytes.len(), &mut rig.stats);
            }
            rig.pass(u64::from(sequence % 50));
            rig.departures().iter().for_each(|departure| check(departure, true));
            rig.compounds();
        }
        let bounded = rig.source.tracks.iter().all(|track| track.encodings.len() <= 32);
        prop_assert!(bounded);
    }
}

/// [`Kind`] has no order.
type Kind_ = u8;
