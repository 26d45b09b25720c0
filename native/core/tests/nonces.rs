//! No (key, SSRC, index) is ever sealed over two byte strings: AES-GCM loses its key otherwise and
//! AES-CM becomes a two-time pad (RFC 7714 §11, RFC 3711 §9.1).
//!
//! The rig holds every datagram that leaves against all that left under its nonce before, also
//! those that the network then loses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use proptest::prelude::*;
use pyforward_core::command::{CloseReason, Command};
use pyforward_core::egress::Outcome;
use pyforward_core::ids::SessionId;
use pyforward_core::media::Kind;
use pyforward_core::srtp::Profile;
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, Weather};

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}

/// Something that happens to a stream on its way.
#[derive(Clone, Debug)]
enum Happening {
    Time(u64),
    Weather { loss: u64, duplicates: u64, jitter_ms: u64 },
    Replace { first: u64 },
    Full(usize),
    Unsegmented(usize),
    Move { viewer: usize, port: u16 },
    Join { rtx: bool, profile: usize },
    Leave(usize),
    Frames(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1u64..800).prop_map(Happening::Time),
        2 => (0u64..150, 0u64..60, 0u64..30).prop_map(|(loss, duplicates, jitter_ms)| {
            Happening::Weather { loss, duplicates, jitter_ms }
        }),
        1 => (0u64..65_536).prop_map(|first| Happening::Replace { first }),
        1 => (1usize..4).prop_map(Happening::Full),
        1 => (1usize..4).prop_map(Happening::Unsegmented),
        1 => (0usize..8, 3_000u16..4_000)
            .prop_map(|(viewer, port)| Happening::Move { viewer, port }),
        1 => (any::<bool>(), 0usize..3)
            .prop_map(|(rtx, profile)| Happening::Join { rtx, profile }),
        1 => (0usize..8).prop_map(Happening::Leave),
        1 => (1usize..40).prop_map(Happening::Frames),
    ]
}

struct Story {
    rig: Rig,
    next: u64,
    viewers: Vec<SessionId>,
}

impl Story {
    fn begin() -> Story {
        let mut story = Story { rig: Rig::new(2), next: 1, viewers: Vec::new() };
        story.publish(65_000);
        story.join(true, 0);
        story.join(false, 2);
        story
    }

    fn publish(&mut self, first: u64) {
        let session = SessionId(self.next);
        self.next += 1;
        let old: Vec<SessionId> = self.rig.publishers.keys().copied().collect();
        for session in old {
            let reason = CloseReason::Replaced;
            self.rig.command(Command::RemoveSession { session, reason });
            self.rig.publishers.remove(&session);
        }
        self.rig.add_session(session, Publisher::media());
        let address = address(2_000 + session.0 as u16);
        self.rig.publishers.insert(session, Publisher::new(session, address, self.rig.now, first));
        self.rig.run_for(Duration::from_millis(60));
        self.rig.install_keys(session, Profile::AeadAes128Gcm);
    }

    fn join(&mut self, rtx: bool, profile: usize) {
        let profile =
            [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80][profile];
        let session = SessionId(100 + self.next);
        self.next += 1;
        self.rig.add_session(session, Viewer::subscription(session, rtx));
        let port = 5_000 + self.next as u16;
        let viewer = Viewer::new(session, address(port), self.rig.now, profile);
        self.rig.viewers.insert(session, viewer);
        self.rig.run_for(Duration::from_millis(60));
        self.rig.install_keys(session, profile);
        self.viewers.push(session);
    }

    fn happen(&mut self, happening: &Happening) {
        let now = self.rig.now;
        match *happening {
            Happening::Time(ms) => self.rig.run_for(Duration::from_millis(ms)),
            Happening::Weather { loss, duplicates, jitter_ms } => {
                let jitter = Duration::from_millis(jitter_ms);
                let delay = Duration::from_millis(10);
                self.rig.weather = Weather { loss, duplicates, jitter, delay };
            }
            Happening::Replace { first } => self.publish(first),
            Happening::Full(times) => self.rig.outcomes = vec![Outcome::Full; times],
            Happening::Unsegmented(times) => {
                self.rig.outcomes = vec![Outcome::Unsegmented; times];
            }
            Happening::Move { viewer, port } => {
                if let Some(viewer) = self.rig.viewers.values_mut().nth(viewer) {
                    viewer.move_to(now, address(port));
                }
            }
            Happening::Join { rtx, profile } => self.join(rtx, profile),
            Happening::Leave(viewer) => {
                if viewer < self.viewers.len() {
                    let session = self.viewers.remove(viewer);
                    self.rig.remove(session);
                }
            }
            Happening::Frames(packets) => {
                for publisher in self.rig.publishers.values_mut() {
                    publisher.frame_packets.0 = packets;
                }
            }
        }
    }
}

/// Stories: a few, more with `PYFORWARD_FUZZ_SECONDS`, or as many as `PROPTEST_CASES` says.
fn stories() -> ProptestConfig {
    let seconds = std::env::var("PYFORWARD_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let mut config = ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::default() };
    if std::env::var("PROPTEST_CASES").is_err() {
        config.cases = 2 + 2 * seconds.map_or(1, |seconds: f64| seconds as u32);
    }
    config
}

proptest! {
    #![proptest_config(stories())]
    #[test]
    fn one_nonce_one_byte_string(happenings in prop::collection::vec(happening(), 5..40)) {
        let mut story = Story::begin();
        for happening in &happenings {
            story.happen(happening);
            prop_assert_eq!(&story.rig.broken, &vec![], "after {:?}", happening);
        }
    }
}

#[test]
fn a_viewer_rolls_over_under_loss() {
    let mut story = Story::begin();
    story.rig.weather.loss = 30;
    story.rig.weather.delay = Duration::from_millis(5);
    for publisher in story.rig.publishers.values_mut() {
        publisher.frame_packets = (400, 400);
        publisher.payload_bytes = 40;
    }
    story.rig.run_for(Duration::from_secs(6));
    assert_eq!(story.rig.broken, vec![]);
    for viewer in story.rig.viewers.values() {
        let (last, _) = viewer.media[Kind::Video as usize].last_key_value().unwrap();
        assert!(*last > 1 << 16, "its numbers went around: {last}");
    }
    assert!(story.rig.viewers.values().any(|viewer| viewer.repaired > 100));
    assert!(story.rig.compounds() > 10, "reports were held as well");
}

#[test]
fn the_rig_sees_a_broken_nonce() {
    // The same number under one SSRC with one byte changed: what every test above would report.
    let mut story = Story::begin();
    story.rig.run_for(Duration::from_millis(500));
    let viewer = story.rig.viewers.values().next().unwrap();
    let mut datagram = viewer.sealed.values().next().unwrap().clone();
    let last = datagram.len() - 1;
    datagram[last] ^= 1;
    let to = viewer.ice.address;
    story.rig.hold_against_nonce(to, &datagram);
    assert_eq!(story.rig.broken.len(), 1);
    // And the same of SRTCP.
    let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
    compound.extend([0; 16]);
    compound.extend(0x8000_0007u32.to_be_bytes());
    story.rig.hold_against_nonce(to, &compound);
    story.rig.hold_against_nonce(to, &compound);
    assert_eq!(story.rig.broken.len(), 1, "the same bytes again are no harm");
    compound[9] ^= 1;
    story.rig.hold_against_nonce(to, &compound);
    assert_eq!(story.rig.broken.len(), 2);
}
