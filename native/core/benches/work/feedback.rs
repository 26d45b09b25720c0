//! What a viewer sends back: checks, reports, requests. Each is a datagram for the shard, and what it
//! answers comes to a transmitter that takes everything.

use std::time::Duration;

use pyforward_core::ids::{SessionId, Ssrc};
use pyforward_core::media::Kind;
use pyforward_core::path::{Path, SocketId};
use pyforward_core::rtcp::{ReportBlock, Writer};
use pyforward_core::srtp::{Profile, Sealer};
use pyforward_core::time::Ntp;

use super::crowd::Nowhere;
use super::rig::publisher::Publisher;
use super::rig::viewer::Viewer;
use super::rig::{Rig, SERVER, check, hand, keys};
use super::{FRAME, Work};

const PROFILE: Profile = Profile::AeadAes128Gcm;
const PUBLISHER: SessionId = SessionId(1);
const VIEWER: SessionId = SessionId(10);

/// As many others as there are, so that looking one up is no accident of the cache.
const OTHERS: u64 = 1_000;

/// What each of a frame's datagrams is.
#[derive(Clone, Copy)]
pub enum Says {
    /// A binding request (RFC 8445 §7.2).
    Check,
    /// A reception report on the video with a CNAME and a reference time.
    Report,
    /// A generic NACK that names one packet, which is sent again.
    Request,
    /// The same again, whose answer is on its way.
    Repeat,
}

/// Takes such datagrams from one viewer of many.
pub struct Feedback {
    says: Says,
    rig: Rig,
    sealer: Sealer,
    path: Path,
    said: u64,
}

impl Feedback {
    pub fn new(says: Says) -> Feedback {
        let mut rig = Rig::new(1);
        rig.add_session(PUBLISHER, Publisher::media());
        let mut publisher = Publisher::new(PUBLISHER, address(2_000), rig.now, 100);
        publisher.frame_packets = (40, 40);
        rig.publishers.insert(PUBLISHER, publisher);
        rig.run_for(Duration::from_millis(1));
        rig.install_keys(PUBLISHER, PROFILE);
        for session in (0..OTHERS).map(|number| SessionId(VIEWER.0 + number)) {
            rig.add_session(session, Viewer::subscription(session, true));
            rig.send(address(session.0 as u16 + 3_000), check(session, 1, true));
            rig.run_for(Duration::from_millis(1));
            if session == VIEWER {
                rig.install_keys(session, PROFILE);
            }
        }
        rig.run_for(Duration::from_secs(2));
        let sealer = Sealer::new(PROFILE, &keys(PROFILE, VIEWER, 2));
        let remote = address(VIEWER.0 as u16 + 3_000);
        let path = Path { socket: SocketId::SHARED, local: SERVER, remote };
        Feedback { says, rig, sealer, path, said: 0 }
    }

    fn datagram(&mut self) -> Vec<u8> {
        let mut compound = Vec::with_capacity(128);
        let media = Viewer::ssrc(VIEWER, Kind::Video);
        let newest = self.rig.newest(media).expect("it watches");
        let mut writer = Writer::new(&mut compound);
        match self.says {
            Says::Check => return check(VIEWER, self.said, true),
            Says::Report => {
                let block = ReportBlock {
                    ssrc: media,
                    fraction_lost: 0,
                    cumulative_lost: 0,
                    highest: 0,
                    jitter: 90,
                    last_sr: 0,
                    delay_since_last_sr: 0,
                };
                writer.receiver_report(Ssrc(1), &[block]);
                writer.sdes_cname(&[Ssrc(1)], "cname");
                writer.receiver_reference_time(Ssrc(1), Ntp(self.said << 32));
            }
            // Each of the cache in turn, so that the answer to the last one is old by then.
            Says::Request => {
                writer.nack(Ssrc(1), media, &[newest.wrapping_sub((self.said % 1_024) as u16)]);
            }
            Says::Repeat => drop(writer.nack(Ssrc(1), media, &[newest])),
        }
        self.sealer.seal_rtcp(&mut compound);
        compound
    }
}

impl Work for Feedback {
    fn run(&mut self) {
        for _ in 0..FRAME {
            let mut datagram = self.datagram();
            hand(&mut self.rig.shards[0], self.rig.now, self.path, &mut datagram);
            self.said += 1;
        }
        self.rig.shards[0].drain(self.rig.now, &mut Nowhere);
        // What budgets have by then is enough.
        let pause = if let Says::Repeat = self.says { 1 } else { 20 };
        self.rig.now = self.rig.now + Duration::from_millis(pause);
    }
}

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}
