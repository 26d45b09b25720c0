//! One shard with a crowd of viewers that nobody acts for: what they say is made here, and of what they
//! get only the newest number is kept.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use pyforward_core::claim::Claim;
use pyforward_core::command::{AddSession, CloseReason, Command, Media};
use pyforward_core::egress::{Message, Outcome, Transmit};
use pyforward_core::ids::{SessionId, Ssrc};
use pyforward_core::media::Kind;
use pyforward_core::path::{Path, SocketId};
use pyforward_core::rtcp::{self, Writer};
use pyforward_core::shard::Shard;
use pyforward_core::srtp::{Profile, Sealer};
use pyforward_core::time::Time;

use super::publisher::{Publisher, VIDEO};
use super::viewer::Viewer;
use super::{SERVER, STREAM, check, config, credentials, keys};

const LOCAL: SessionId = SessionId(1);
const GCM: Profile = Profile::AeadAes128Gcm;

/// Packets of a frame.
pub const FRAME: u16 = 8;

pub struct Crowd {
    pub now: Time,
    pub shard: Shard,
    kernel: Kernel,
    sealers: HashMap<u64, Sealer>,
    frames: u16,
    transaction: u64,
}

/// Takes everything.
pub struct Kernel {
    /// The newest number by SSRC.
    numbers: HashMap<Ssrc, u16>,
    /// They are not read any more.
    blind: bool,
    /// Where the last message went.
    last: Option<SocketAddr>,
}

impl Crowd {
    /// A shard with a publisher that lives on it, and room for what is kept here of so many viewers.
    /// Whoever is silent stays.
    pub fn new(viewers: u64) -> Crowd {
        let mut config = config(0, 1);
        config.silence = Duration::from_secs(1_000_000);
        let mut shard = Shard::new(config);
        let now = Time(1_000_000);
        shard.apply(now, Command::AddStream { stream: STREAM });
        let numbers = HashMap::with_capacity(viewers as usize);
        let kernel = Kernel { numbers, blind: false, last: None };
        let sealers = HashMap::with_capacity(viewers as usize);
        let mut crowd = Crowd { now, shard, kernel, sealers, frames: 0, transaction: 0 };
        crowd.add_session(LOCAL, None, Publisher::media());
        crowd
    }

    /// One that `viewers` watch; all have got a frame and their first sender reports.
    pub fn watching(viewers: u64) -> Crowd {
        let mut crowd = Crowd::new(viewers);
        for viewer in 0..viewers {
            crowd.add(viewer);
            crowd.claim(viewer);
            crowd.install_keys(viewer);
        }
        crowd.show();
        // Their first sender reports go out with the first packet.
        crowd.shard.handle_timeout(crowd.now);
        crowd.settle();
        crowd.kernel.blind = true;
        crowd
    }

    /// Control tells of a viewer.
    pub fn add(&mut self, viewer: u64) {
        let session = session(viewer);
        self.add_session(session, Some(session), Viewer::subscription(session, true));
    }

    /// Its first check comes.
    pub fn claim(&mut self, viewer: u64) {
        let (path, mut check) = self.check(viewer);
        super::hand(&mut self.shard, self.now, path, &mut check);
        self.settle();
    }

    /// Its handshake is done.
    pub fn install_keys(&mut self, viewer: u64) {
        let session = session(viewer);
        let (local, remote) = (keys(GCM, session, 1), keys(GCM, session, 2));
        self.shard.apply(self.now, Command::InstallKeys { session, profile: GCM, local, remote });
        self.settle();
    }

    /// A keyframe goes to everybody.
    pub fn show(&mut self) {
        let packet = |position: u16| {
            let number = self.frames * FRAME + position;
            let mut bytes = vec![0x80, (u8::from(position + 1 == FRAME) << 7) | 96];
            bytes.extend(number.to_be_bytes());
            bytes.extend((u32::from(self.frames) * 3_000).to_be_bytes());
            bytes.extend(VIDEO.0.to_be_bytes());
            bytes.extend([u8::from(position == 0) << 4, 0]);
            bytes.resize(12 + 1_188, 0xA5);
            bytes
        };
        let packets = (0..FRAME).map(packet).collect();
        self.frames += 1;
        self.shard.apply(self.now, Command::InjectRtp { session: LOCAL, packets, stamped: false });
        self.settle();
    }

    /// The address that the last message went to.
    pub fn last(&self) -> Option<SocketAddr> {
        self.kernel.last
    }

    /// The publisher goes; the viewers stay.
    pub fn end(&mut self) {
        let reason = CloseReason::Deleted;
        self.shard.apply(self.now, Command::RemoveSession { session: LOCAL, reason });
        self.settle();
    }

    /// A viewer's next check.
    pub fn check(&mut self, viewer: u64) -> (Path, Vec<u8>) {
        self.transaction += 1;
        (path(viewer), check(session(viewer), self.transaction, true))
    }

    /// Its receiver report of its video, sealed.
    pub fn report(&mut self, viewer: u64) -> (Path, Vec<u8>) {
        let block = rtcp::ReportBlock {
            ssrc: Viewer::ssrc(session(viewer), Kind::Video),
            fraction_lost: 0,
            cumulative_lost: 0,
            highest: 100,
            jitter: 90,
            last_sr: 0,
            delay_since_last_sr: 0,
        };
        self.compound(viewer, |writer| _ = writer.receiver_report(Ssrc(1), &[block]))
    }

    /// Its request for the newest packet of its video, sealed.
    pub fn nack(&mut self, viewer: u64) -> (Path, Vec<u8>) {
        let media = Viewer::ssrc(session(viewer), Kind::Video);
        let number = self.kernel.numbers.get(&media).copied().expect("it has got a packet");
        self.compound(viewer, |writer| _ = writer.nack(Ssrc(1), media, &[number]))
    }

    /// A datagram comes.
    pub fn take(&mut self, (path, mut datagram): (Path, Vec<u8>)) {
        super::hand(&mut self.shard, self.now, path, &mut datagram);
    }

    /// The end of a turn: what is ready leaves.
    pub fn drain(&mut self) {
        self.shard.drain(self.now, &mut self.kernel);
    }

    /// The same, and control hears.
    pub fn settle(&mut self) {
        self.drain();
        while self.shard.poll_event().is_some() {}
    }

    fn compound(&mut self, viewer: u64, write: impl FnOnce(&mut Writer<'_>)) -> (Path, Vec<u8>) {
        let mut compound = Vec::new();
        write(&mut Writer::new(&mut compound));
        let sealer = || Sealer::new(GCM, &keys(GCM, session(viewer), 2));
        self.sealers.entry(viewer).or_insert_with(sealer).seal_rtcp(&mut compound);
        (path(viewer), compound)
    }

    fn add_session(&mut self, session: SessionId, ice: Option<SessionId>, media: Media) {
        let added = AddSession {
            session,
            ice: ice.map(|session| credentials(session, 0)),
            media: media.into(),
            candidates: Vec::new(),
            trial: None,
            claim: Claim::default(),
        };
        self.shard.apply(self.now, Command::AddSession(Box::new(added)));
    }
}

fn session(viewer: u64) -> SessionId {
    SessionId(1_000 + viewer)
}

fn path(viewer: u64) -> Path {
    let remote: SocketAddr = ([10, 1, (viewer >> 8) as u8, viewer as u8], 4_444).into();
    Path { socket: SocketId::SHARED, local: SERVER, remote }
}

impl Transmit for Kernel {
    fn transmit(
        &mut self,
        arena: &[u8],
        messages: &[Message],
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        outcomes.resize(messages.len(), Outcome::Sent);
        self.last = messages.last().map(|message| message.path.remote);
        for message in messages.iter().filter(|_| !self.blind) {
            let bytes = &arena[message.start as usize..(message.start + message.len) as usize];
            for datagram in bytes.chunks(usize::from(message.segment)) {
                if (128..192).contains(&datagram[0]) && !rtcp::is_rtcp(datagram) {
                    let number = u16::from_be_bytes([datagram[2], datagram[3]]);
                    let ssrc = datagram[8..12].try_into().expect("an RTP header");
                    self.numbers.insert(Ssrc(u32::from_be_bytes(ssrc)), number);
                }
            }
        }
        1
    }

    fn now(&self) -> Time {
        Time(1_001_000)
    }
}
