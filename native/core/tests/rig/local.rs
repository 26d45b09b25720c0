//! A publisher in the process: frames and sound that a test hands over packet by packet.

use std::ops::Range;
use std::time::Duration;

use pyforward_core::claim::Claim;
use pyforward_core::command::{AddSession, Command};
use pyforward_core::ids::SessionId;
use pyforward_core::shard::ShardConfig;
use pyforward_core::srtp::Profile;

use super::Rig;
use super::publisher::{AUDIO, Publisher, VIDEO};
use super::viewer::Viewer;

const LOCAL: SessionId = SessionId(1);

/// Bytes of RTP of each packet of video.
pub const VIDEO_BYTES: usize = 12 + 1_100;

/// One shard with a publisher; another shard would hear of its first viewer too late for a first
/// frame that comes at once.
pub fn publishing(change: impl Fn(&mut ShardConfig)) -> Rig {
    let mut rig = Rig::with(1, change);
    publish(&mut rig, LOCAL);
    rig
}

/// Begins a publisher whose packets come by command.
pub fn publish(rig: &mut Rig, session: SessionId) {
    let added = AddSession {
        session,
        ice: None,
        media: Publisher::media().into(),
        candidates: Vec::new(),
        trial: None,
        claim: Claim::default(),
    };
    rig.command(Command::AddSession(Box::new(added)));
}

pub fn watch(rig: &mut Rig, session: u64) -> SessionId {
    let (session, profile) = (SessionId(session), Profile::AeadAes128Gcm);
    rig.add_session(session, Viewer::subscription(session, true));
    let address = ([10, 0, 1, 1], 3_000 + session.0 as u16).into();
    rig.viewers.insert(session, Viewer::new(session, address, rig.now, profile));
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(session, profile);
    session
}

/// The packets of a frame, the last one with a marker.
pub fn frame(frame: u32, numbers: Range<u16>, keyframe: bool) -> Vec<Vec<u8>> {
    let packet = |number: u16| {
        let last = number + 1 == numbers.end;
        let mut bytes = vec![0x80, (u8::from(last) << 7) | 96];
        bytes.extend(number.to_be_bytes());
        bytes.extend((frame * 3_000).to_be_bytes());
        bytes.extend(VIDEO.0.to_be_bytes());
        bytes.extend([u8::from(number == numbers.start) << 4, u8::from(!keyframe)]);
        bytes.extend(number.to_be_bytes());
        bytes.resize(VIDEO_BYTES, 0);
        bytes
    };
    numbers.clone().map(packet).collect()
}

/// A packet of audio.
pub fn sound(number: u16) -> Vec<u8> {
    let mut bytes = vec![0x80, 111];
    bytes.extend(number.to_be_bytes());
    bytes.extend((u32::from(number) * 960).to_be_bytes());
    bytes.extend(AUDIO.0.to_be_bytes());
    bytes.extend([7; 40]);
    bytes
}

/// They arrive together.
pub fn send(rig: &mut Rig, packets: Vec<Vec<u8>>) {
    rig.command(Command::InjectRtp { session: LOCAL, packets, stamped: false });
}
