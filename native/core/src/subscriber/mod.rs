//! A viewer's side of a stream: its own SSRCs, numbers, timestamps, payload types and keys.
//!
//! [`Subscriber::forward`] is the way of media to it, [`Subscriber::handle_nack`] that of
//! retransmissions, [`Subscriber::write_reports`] that of sender reports. All three end in
//! [`Egress`]; nothing here sends.

mod numbering;
mod repair;
mod reports;
mod template;

use std::time::Duration;

pub use numbering::Numbering;
pub use template::{MAX_HEADER, Numbers, Template};

use crate::cache::{Cache, Entry};
use crate::command::SubscribeTrack;
use crate::egress::{Budget, Egress, MAX_SEGMENT, MAX_TRAIN, Outcome};
use crate::ids::{SessionId, Ssrc};
use crate::media::{Codec, Kind};
use crate::path::Path;
use crate::srtp::Sealer;
use crate::stats::{Counter, Stats};
use crate::stream::Batch;
use crate::time::Time;

use repair::Resent;
use reports::ReferenceTime;

/// Most bytes that a packet gains on its way to a viewer: header, padding, original sequence
/// number of RTX, tag.
pub const MAX_ADDED: usize = MAX_HEADER + 16 + 2 + 16;

/// A destination that refused a train gets single packets for so long.
const SEGMENT_CAP: Duration = Duration::from_secs(30);

/// One track of a viewer.
#[derive(Debug)]
struct Track {
    kind: Kind,
    ssrc: Ssrc,
    template: Template,
    numbering: Numbering,
    timestamp_offset: u32,
    rtx: Option<Rtx>,
    answers_nack: bool,
    packets: u64,
    octets: u64,
    loss: f64,
}

/// Where retransmissions go (RFC 4588).
#[derive(Debug)]
struct Rtx {
    ssrc: Ssrc,
    next_index: u64,
}

/// What the API shows of a viewer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// First transmissions.
    pub packets: u64,
    /// Their bytes of UDP payload.
    pub bytes: u64,
    /// Packets that NACKs asked for.
    pub nacks: u64,
    /// Retransmissions sent.
    pub repaired: u64,
    /// Packets that the kernel did not take.
    pub drops: u64,
}

/// See the module.
pub struct Subscriber {
    /// Whose it is.
    pub session: SessionId,
    /// The session's slot in the shard; tells outcomes apart.
    owner: u32,
    path: Path,
    sealer: Sealer,
    tracks: [Option<Track>; 2],
    cname: String,
    /// No trains until then: the route refused one.
    single_until: Time,
    /// Paces retransmissions; a pacing rate for media takes the same form.
    repair_budget: Budget,
    /// What the last mile may take a second; unlimited until a rate is set.
    pacing: Budget,
    resent: Resent,
    round_trip: Option<Duration>,
    reference_time: Option<ReferenceTime>,
    figures: Figures,
    bitrate: Bitrate,
    /// When its first media packet was sent.
    flowing_since: Option<Time>,
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Bits of the last whole second.
#[derive(Clone, Copy, Debug, Default)]
struct Bitrate {
    second: u64,
    bytes_at_start: u64,
    last_bps: u64,
}

/// What a new subscriber is made of.
pub struct Beginning<'a> {
    /// Whose it is.
    pub session: SessionId,
    /// The session's slot.
    pub owner: u32,
    /// Where its media goes.
    pub path: Path,
    /// What seals for it.
    pub sealer: Sealer,
    /// What it negotiated.
    pub tracks: &'a [SubscribeTrack],
    /// The CNAME that was told in the answer.
    pub cname: &'a str,
    /// Random: first sequence numbers and timestamps.
    pub random: [u64; 2],
}

impl Subscriber {
    /// A viewer that has keys and waits for its first packet.
    #[must_use]
    pub fn new(now: Time, beginning: Beginning<'_>) -> Subscriber {
        let mut tracks = [None, None];
        for (track, random) in beginning.tracks.iter().zip(beginning.random) {
            tracks[track.kind as usize] = Some(Track::new(track, random));
        }
        Subscriber {
            session: beginning.session,
            owner: beginning.owner,
            path: beginning.path,
            sealer: beginning.sealer,
            tracks,
            cname: beginning.cname.to_owned(),
            single_until: Time(0),
            repair_budget: repair::budget(now),
            pacing: Budget::UNLIMITED,
            resent: Resent::default(),
            round_trip: None,
            reference_time: None,
            figures: Figures::default(),
            bitrate: Bitrate::default(),
            flowing_since: None,
        }
    }

    /// Its media goes this way from now on.
    pub fn set_path(&mut self, path: Path) {
        self.path = path;
    }

    /// Where its media goes.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// True if it can take a track of this codec, or has no track of this kind.
    #[must_use]
    pub fn takes(&self, kind: Kind, codec: Codec) -> bool {
        self.tracks[kind as usize].as_ref().is_none_or(|t| t.template.format(codec).is_some())
    }

    /// True if this is the SSRC of its track of this kind.
    #[must_use]
    pub fn has(&self, ssrc: Ssrc, kind: Kind) -> bool {
        self.tracks[kind as usize].as_ref().is_some_and(|track| track.ssrc == ssrc)
    }

    /// Seals a compound and sends it; an empty one is nothing.
    pub fn send_rtcp(&mut self, mut compound: Vec<u8>, egress: &mut Egress) {
        if !compound.is_empty() {
            self.sealer.seal_rtcp(&mut compound);
            egress.datagram(self.path, self.owner, &compound);
        }
    }

    /// True while a video track waits for a keyframe.
    #[must_use]
    pub fn waits_for_keyframe(&self) -> bool {
        self.tracks[Kind::Video as usize].as_ref().is_some_and(|track| !track.numbering.is_open())
    }

    /// True once a packet was sent to it.
    #[must_use]
    pub fn flowing(&self) -> bool {
        self.flowing_since.is_some()
    }

    /// Sends a batch to it, or nothing if it waits for another start. True if this was the first
    /// that it got.
    pub fn forward(
        &mut self,
        now: Time,
        batch: &Batch,
        cache: &Cache,
        egress: &mut Egress,
        stats: &mut Stats,
    ) -> bool {
        let cap = self.segment_cap(now);
        let Some(track) = self.tracks[batch.kind as usize].as_mut() else { return false };
        if track.template.format(batch.codec).is_none() || !self.pacing.take(now, batch.room) {
            return false;
        }
        let mut way = Way { egress, sealer: &self.sealer, path: self.path, owner: self.owner, cap };
        let mut sent = Sent::default();
        if !track.numbering.is_open() {
            let Some(start) = batch.start else { return false };
            track.numbering.open(start);
            for entry in before(batch, start, cache) {
                sent += way.send(track, std::slice::from_ref(entry));
            }
        }
        for (position, from) in batch.trains.iter().enumerate() {
            let to =
                batch.trains.get(position + 1).copied().map_or(batch.entries.len(), usize::from);
            sent += way.send(track, batch.entries.get(usize::from(*from)..to).unwrap_or(&[]));
        }
        track.packets += sent.packets;
        track.octets += sent.octets;
        self.count(now, sent, stats)
    }

    /// The outcome of a message that was not plainly sent.
    pub fn handle_outcome(&mut self, now: Time, outcome: Outcome, datagrams: u32) {
        match outcome {
            Outcome::Sent => {}
            Outcome::Unsegmented => self.single_until = now + SEGMENT_CAP,
            Outcome::Refused => self.figures.drops += u64::from(datagrams),
            Outcome::Full => {
                self.figures.drops += u64::from(datagrams);
                // What follows refers to what it did not get: the next keyframe starts anew.
                self.await_keyframe();
            }
        }
    }

    /// Its video stops until the next keyframe, without a gap in its numbers.
    pub fn await_keyframe(&mut self) {
        if let Some(video) = self.tracks[Kind::Video as usize].as_mut() {
            video.numbering.close();
        }
    }

    /// What the API shows.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Fraction lost by the last reports, of the worse track.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.tracks.iter().flatten().map(|track| track.loss).fold(0.0, f64::max)
    }

    /// Round trip by the last reports.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Bits a second over the last whole second in which something was sent.
    #[must_use]
    pub fn bitrate_bps(&self) -> u64 {
        self.bitrate.last_bps
    }

    fn segment_cap(&self, now: Time) -> usize {
        if now < self.single_until { 0 } else { MAX_SEGMENT }
    }

    fn count(&mut self, now: Time, sent: Sent, stats: &mut Stats) -> bool {
        if sent.packets == 0 {
            return false;
        }
        stats.add(Counter::PacketsOut, sent.packets);
        stats.add(Counter::BytesOut, sent.bytes);
        stats.add(Counter::BytesOutPadding, sent.padding);
        self.figures.packets += sent.packets;
        self.figures.bytes += sent.bytes;
        self.bitrate.roll(now, self.figures.bytes);
        let first = self.flowing_since.is_none();
        self.flowing_since.get_or_insert(now);
        first
    }

    fn track_of(&mut self, ssrc: Ssrc) -> Option<&mut Track> {
        self.tracks.iter_mut().flatten().find(|track| track.ssrc == ssrc)
    }
}

impl Track {
    fn new(track: &SubscribeTrack, random: u64) -> Track {
        let rtx = track.rtx_ssrc.map(|ssrc| Rtx { ssrc, next_index: (random >> 48) & 0x7FFF });
        Track {
            kind: track.kind,
            ssrc: track.ssrc,
            template: Template::new(track),
            numbering: Numbering::new(random as u16),
            timestamp_offset: (random >> 16) as u32,
            rtx,
            answers_nack: track.nack,
            packets: 0,
            octets: 0,
            loss: 0.0,
        }
    }
}

impl Bitrate {
    fn roll(&mut self, now: Time, bytes: u64) {
        let second = now.0 / 1_000_000;
        if second != self.second {
            let seconds = (second - self.second).max(1);
            self.last_bps = (bytes - self.bytes_at_start) * 8 / seconds;
            self.second = second;
            self.bytes_at_start = bytes;
        }
    }
}

/// What was handed to egress.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    packets: u64,
    bytes: u64,
    octets: u64,
    padding: u64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, more: Sent) {
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.octets += more.octets;
        self.padding += more.padding;
    }
}

/// The way of a viewer's packets: sealed straight into the train's arena.
struct Way<'a> {
    egress: &'a mut Egress,
    sealer: &'a Sealer,
    path: Path,
    owner: u32,
    cap: usize,
}

impl Way<'_> {
    /// Sends packets as one train. Those that have no number for this viewer are left out.
    fn send(&mut self, track: &mut Track, entries: &[Entry]) -> Sent {
        let mut sent = Sent::default();
        let Some(last) = entries.last() else { return sent };
        let arrival = Some(last.packet.arrival);
        let room = entries.iter().map(|e| e.packet.bytes.len() + MAX_ADDED).sum();
        let mut train = self.egress.train(self.path, self.owner, self.cap, arrival, room);
        for entry in entries {
            let Some(index) = track.numbering.index(entry.sequence) else { continue };
            let sealer = self.sealer;
            let room = entry.packet.bytes.len() + MAX_ADDED;
            let len = train.segment(room, |buffer| seal(track, sealer, entry, index, buffer));
            sent.packets += 1;
            sent.bytes += len as u64;
            sent.octets += entry.packet.payload().len() as u64;
            sent.padding += u64::from(entry.packet.padding);
        }
        sent
    }
}

/// Writes a packet as this viewer gets it, first or again, and returns its length. What is written
/// depends on nothing that changes during the session.
fn seal(track: &Track, sealer: &Sealer, entry: &Entry, index: u64, buffer: &mut [u8]) -> usize {
    let packet = &*entry.packet;
    let Some(format) = track.template.format(packet.codec) else { return 0 };
    let numbers = Numbers {
        ssrc: track.ssrc,
        sequence: index as u16,
        timestamp: entry.timestamp.wrapping_add(track.timestamp_offset),
        payload_type: format.payload_type.0,
    };
    let padding = usize::from(packet.padding);
    let header = track.template.write_header(packet, numbers, padding > 0, buffer);
    let payload = packet.payload();
    let end = header + payload.len();
    let (Some(target), padded) = (buffer.get_mut(header..end), end + padding) else { return 0 };
    target.copy_from_slice(payload);
    if let Some(target) = buffer.get_mut(end..padded) {
        // RFC 3550 §5.1: the last byte of padding counts it, itself included.
        target.fill(0);
        if let Some(last) = target.last_mut() {
            *last = packet.padding;
        }
    }
    sealer.seal_rtp(index, buffer, header, padded)
}

/// What a viewer that starts at `start` needs besides the batch that lets it start: the frame's
/// packets that went before, and those that went after if the batch came late.
fn before<'a>(batch: &Batch, start: u64, cache: &'a Cache) -> impl Iterator<Item = &'a Entry> {
    let first = batch.entries.first().map_or(start, |entry| entry.sequence);
    let last = batch.entries.last().map_or(start, |entry| entry.sequence);
    let late = batch.entries.iter().any(|entry| entry.late_at.is_some());
    let end = if late { cache.end() } else { first };
    cache.range(start..end.max(start)).filter(move |e| !(first..=last).contains(&e.sequence))
}

const _: () = assert!(MAX_TRAIN < u8::MAX as usize);
