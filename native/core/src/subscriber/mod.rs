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
pub use reports::Told;
pub use template::{MAX_HEADER, Numbers, Template};

use crate::cache::{Cache, Entry};
use crate::command::SubscribeTrack;
use crate::egress::{Budget, Content, Egress, MAX_SEGMENT, MAX_TRAIN, Outcome, Transmit, Trouble};
use crate::ids::{SessionId, Ssrc};
use crate::media::{Codec, Kind};
use crate::packet::{MAX_ADDED, Packet};
use crate::path::Path;
use crate::srtp::Sealer;
use crate::stages::Stage;
use crate::stats::{Counter, Stats};
use crate::time::Time;
use crate::track::{Batch, Start};

use repair::{Again, Resent};
use reports::ReferenceTime;

const _: () = assert!(MAX_HEADER + 16 + 2 + 16 <= MAX_ADDED);

/// A destination that refused a train gets single packets for so long.
const SEGMENT_CAP: Duration = Duration::from_secs(30);

/// Headers of UDP over each version of IP, in bytes, without options.
const IPV4_UDP: usize = 28;
const IPV6_UDP: usize = 48;

/// What arrived within this time was forwarded as it came, if only for a frame's window.
const FRESH: Duration = Duration::from_millis(20);

/// One track of a viewer.
#[derive(Debug)]
struct Track {
    kind: Kind,
    ssrc: Ssrc,
    clock_rate: u32,
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
    /// None while nothing leads to it: nothing is sent then.
    path: Option<Path>,
    sealer: Sealer,
    tracks: [Option<Track>; 2],
    cname: String,
    /// No trains until then: the route refused one.
    single_until: Time,
    /// Largest segment of a train that its route takes; to be asked anew for a new path.
    segment: usize,
    knows_route: bool,
    counts_as_waiting: bool,
    /// Paces retransmissions; media is paced for all viewers of a stream together.
    repair_budget: Budget,
    resent: Resent,
    repeats: bool,
    lossy_until: Time,
    misses_ends_until: Time,
    round_trip: Option<Duration>,
    reference_time: Option<ReferenceTime>,
    answers_reference_time: bool,
    figures: Figures,
    bitrate: Bitrate,
    /// When its first media packet was sent.
    flowing_since: Option<Time>,
    joining: Joining,
}

/// What is left of a viewer's way to its first picture.
#[derive(Clone, Copy, Debug)]
struct Joining {
    /// When control's command made its session.
    added: Time,
    /// When it got its keys.
    keyed: Time,
    /// Its first keyframe is still to come.
    lacks_keyframe: bool,
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Bytes by the second of engine time.
#[derive(Clone, Copy, Debug, Default)]
struct Bitrate {
    second: u64,
    bytes: u64,
    bytes_before: u64,
}

/// What a new subscriber is made of.
pub struct Beginning<'a> {
    /// Whose it is.
    pub session: SessionId,
    /// When control's command made the session.
    pub added: Time,
    /// The session's slot.
    pub owner: u32,
    /// Where its media goes.
    pub path: Option<Path>,
    /// What seals for it.
    pub sealer: Sealer,
    /// What it negotiated.
    pub tracks: &'a [SubscribeTrack],
    /// The CNAME that was told in the answer.
    pub cname: &'a str,
    /// Random: first sequence numbers and timestamps.
    pub random: [u64; 2],
    /// On a lossy way what it asks for goes twice, and the ends of frames.
    pub repeats: bool,
}

impl Subscriber {
    /// A viewer that has keys and waits for its first packet.
    #[must_use]
    pub fn new(now: Time, beginning: Beginning<'_>) -> Subscriber {
        let lacks_keyframe = beginning.tracks.iter().any(|track| track.kind == Kind::Video);
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
            segment: MAX_SEGMENT,
            knows_route: false,
            counts_as_waiting: false,
            repair_budget: repair::budget(now),
            resent: Resent::default(),
            repeats: beginning.repeats,
            lossy_until: Time(0),
            misses_ends_until: Time(0),
            round_trip: None,
            reference_time: None,
            answers_reference_time: beginning.tracks.iter().any(|track| track.rrtr),
            figures: Figures::default(),
            bitrate: Bitrate::default(),
            flowing_since: None,
            joining: Joining { added: beginning.added, keyed: now, lacks_keyframe },
        }
    }

    /// Its media goes this way from now on; with none it waits for another, and then for a keyframe.
    pub fn set_path(&mut self, path: Option<Path>) {
        if path.is_none() {
            self.hold();
        }
        self.knows_route &= self.path == path;
        self.path = path;
    }

    /// Asks for the route of a new path: a train's segments may not be larger than its MTU, and what
    /// is larger goes alone.
    pub fn learn_route(&mut self, transmit: &mut impl Transmit) {
        if std::mem::replace(&mut self.knows_route, true) {
            return;
        }
        let room = |path: Path| {
            let headers = if path.remote.is_ipv4() { IPV4_UDP } else { IPV6_UDP };
            Some(usize::from(transmit.route_mtu(&path)?).saturating_sub(headers))
        };
        self.segment = self.path.and_then(room).map_or(MAX_SEGMENT, |room| room.min(MAX_SEGMENT));
    }

    /// It gets nothing more until a keyframe comes, and audio from the next packet on. What is left
    /// out leaves no gap in its numbers.
    pub fn hold(&mut self) {
        self.tracks.iter_mut().flatten().for_each(|track| track.numbering.close());
    }

    /// Leaves a batch out that would go to it; where a frame begins with it, everything from there
    /// on, as [`Subscriber::hold`] does. How many packets are left out: none while a frame that it
    /// got the beginning of goes on.
    pub fn leave_out(&mut self, batch: &Batch, begins_frame: bool) -> usize {
        let track = self.tracks[batch.kind as usize].as_mut().filter(|_| self.path.is_some());
        let Some(track) = track.filter(|t| t.template.format(batch.codec).is_some()) else {
            return 0;
        };
        if begins_frame {
            track.numbering.close();
        }
        if track.numbering.is_open() { 0 } else { batch.entries.len() }
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
        if let Some(path) = self.path.filter(|_| !compound.is_empty()) {
            self.sealer.seal_rtcp(&mut compound);
            egress.datagram(path, self.owner, &compound);
        }
    }

    /// True while a video track waits for a keyframe.
    #[must_use]
    pub fn waits_for_keyframe(&self) -> bool {
        self.tracks[Kind::Video as usize].as_ref().is_some_and(|track| !track.numbering.is_open())
    }

    /// Counts it among those who wait for a keyframe, or no more.
    pub fn count_waiting(&mut self, waiting: &mut usize) {
        let waits = self.waits_for_keyframe();
        *waiting += usize::from(waits);
        *waiting -= usize::from(std::mem::replace(&mut self.counts_as_waiting, waits));
    }

    /// True if it was counted so at last.
    #[must_use]
    pub fn counts_as_waiting(&self) -> bool {
        self.counts_as_waiting
    }

    /// True once a packet was sent to it.
    #[must_use]
    pub fn flowing(&self) -> bool {
        self.flowing_since.is_some()
    }

    /// Sends a batch to it, or nothing if it waits for a keyframe. True if this was the first that
    /// it got.
    pub fn forward(
        &mut self,
        now: Time,
        batch: &Batch,
        egress: &mut Egress,
        stats: &mut Stats,
    ) -> bool {
        let (cap, Some(path)) = (self.segment_cap(now), self.path) else { return false };
        let end = self.end_to_repeat(now, batch);
        let Some(track) = self.tracks[batch.kind as usize].as_mut() else { return false };
        if !track.opens_with(batch) {
            return false;
        }
        let mut way = Way { egress, sealer: &self.sealer, path, owner: self.owner, cap };
        let mut sent = Sent::default();
        for (position, from) in batch.trains.iter().enumerate() {
            let to =
                batch.trains.get(position + 1).copied().map_or(batch.entries.len(), usize::from);
            let train = batch.entries.get(usize::from(*from)..to).unwrap_or(&[]);
            let arrival = train.last().map(|last| last.packet.arrival);
            let again = end.filter(|_| to == batch.entries.len());
            sent += way.send(track, arrival, train.iter(), again);
        }
        track.count(sent);
        self.count(now, sent, stats)
    }

    /// Sends everything from a keyframe on to it, if it can take it. True if this was the first
    /// that it got.
    pub fn start(
        &mut self,
        now: Time,
        start: Start,
        cache: &Cache,
        egress: &mut Egress,
        stats: &mut Stats,
    ) -> bool {
        let (cap, Some(path)) = (self.segment_cap(now), self.path) else { return false };
        let Some(track) = self.tracks[Kind::Video as usize].as_mut() else { return false };
        if track.template.format(start.codec).is_none() || !track.numbering.open(start.place) {
            return false;
        }
        let mut way = Way { egress, sealer: &self.sealer, path, owner: self.owner, cap };
        let mut sent = Sent::default();
        let entries: Vec<&Entry> = cache.range(start.place..start.end).collect();
        let same_frame = |a: &&Entry, b: &&Entry| a.timestamp == b.timestamp && !a.packet.marker;
        for frame in entries.chunk_by(same_frame) {
            // What came just now is as late as the rest of the turn; what waited tells nothing.
            let arrival = frame.last().map(|last| last.packet.arrival);
            let arrival = arrival.filter(|arrival| now.since(*arrival) < FRESH);
            sent += way.send(track, arrival, frame.iter().copied(), None);
        }
        track.count(sent);
        let first = self.count(now, sent, stats);
        self.count_first_keyframe(now, stats);
        first
    }

    /// What became of a message that was not plainly sent.
    pub fn handle_trouble(&mut self, now: Time, trouble: Trouble) {
        match trouble.outcome {
            Outcome::Unsegmented => self.single_until = now + SEGMENT_CAP,
            Outcome::Sent | Outcome::Refused | Outcome::Full => {}
        }
        self.figures.drops += trouble.dropped();
        // What references a frame that was not sent is useless: the next keyframe starts anew.
        if let (Outcome::Full, Some(Kind::Video)) = (trouble.outcome, trouble.media)
            && let Some(video) = self.tracks[Kind::Video as usize].as_mut()
        {
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

    /// Bits over the last whole second.
    #[must_use]
    pub fn bitrate_bps(&self, now: Time) -> u64 {
        self.bitrate.at(now)
    }

    fn segment_cap(&self, now: Time) -> usize {
        if now < self.single_until { 0 } else { self.segment }
    }

    fn count(&mut self, now: Time, sent: Sent, stats: &mut Stats) -> bool {
        stats.add(Counter::SendDropsError, sent.unsendable);
        self.count_again(sent.again, stats);
        if sent.packets == 0 {
            return false;
        }
        stats.add(Counter::PacketsOut, sent.packets);
        stats.add(Counter::BytesOut, sent.bytes);
        stats.add(Counter::BytesOutPadding, sent.padding);
        self.figures.packets += sent.packets;
        self.figures.bytes += sent.bytes;
        self.bitrate.add(now, sent.bytes);
        let first = self.flowing_since.is_none();
        self.flowing_since.get_or_insert(now);
        if first {
            let Joining { added, keyed, lacks_keyframe } = self.joining;
            stats.stages.observe(Stage::Packet, self.session, now.since(keyed));
            if !lacks_keyframe {
                stats.stages.observe(Stage::Whole, self.session, now.since(added));
            }
        }
        first
    }

    fn count_first_keyframe(&mut self, now: Time, stats: &mut Stats) {
        let Some(since) = self.flowing_since else { return };
        if std::mem::take(&mut self.joining.lacks_keyframe) {
            stats.stages.observe(Stage::Keyframe, self.session, now.since(since));
            stats.stages.observe(Stage::Whole, self.session, now.since(self.joining.added));
        }
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
            clock_rate: track.clock_rate.max(1),
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

    /// True if a batch goes to it. Audio starts with any packet that comes in order, video only by
    /// [`Subscriber::start`].
    fn opens_with(&mut self, batch: &Batch) -> bool {
        if self.template.format(batch.codec).is_none() {
            return false;
        }
        if self.numbering.is_open() || self.kind == Kind::Video {
            return self.numbering.is_open();
        }
        let in_order = batch.entries.iter().find(|entry| entry.late_at.is_none());
        in_order.is_some_and(|entry| self.numbering.open(entry.sequence))
    }

    fn count(&mut self, sent: Sent) {
        self.packets += sent.packets;
        self.octets += sent.octets;
    }
}

impl Bitrate {
    fn add(&mut self, now: Time, bytes: u64) {
        let second = now.0 / 1_000_000;
        if second != self.second {
            let follows = second == self.second + 1;
            self.bytes_before = if follows { self.bytes } else { 0 };
            (self.second, self.bytes) = (second, 0);
        }
        self.bytes += bytes;
    }

    fn at(self, now: Time) -> u64 {
        8 * match (now.0 / 1_000_000).saturating_sub(self.second) {
            0 => self.bytes_before,
            1 => self.bytes,
            _ => 0,
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
    /// Larger than a datagram can be.
    unsendable: u64,
    again: Again,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, more: Sent) {
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.octets += more.octets;
        self.padding += more.padding;
        self.unsendable += more.unsendable;
        self.again += more.again;
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
    /// Sends packets as one train, or behind those of the train before, and one of them `again` behind
    /// them. Those that have no number for this viewer are left out.
    fn send<'e>(
        &mut self,
        track: &mut Track,
        arrival: Option<Time>,
        entries: impl Iterator<Item = &'e Entry> + Clone,
        again: Option<&'e Entry>,
    ) -> Sent {
        let mut sent = Sent::default();
        let content = Content::Media { kind: track.kind, arrival };
        let room = entries.clone().map(Entry::room).sum();
        let train = self.egress.train(self.path, self.owner, self.cap, content, room);
        let mut train = train.riding();
        for entry in entries {
            let Some(index) = track.numbering.index(entry.sequence) else { continue };
            let sealer = self.sealer;
            let len =
                train.segment(entry.room(), |buffer| seal(track, sealer, entry, index, buffer));
            if len == 0 {
                sent.unsendable += 1;
                continue;
            }
            sent.packets += 1;
            sent.bytes += len as u64;
            sent.octets += entry.packet.payload().len() as u64;
            sent.padding += u64::from(entry.packet.padding);
        }
        drop(train);
        if let Some(entry) = again {
            sent.again = self.resend(track, entry);
        }
        sent
    }

    /// Sends a packet once more, as the last segment of the train before if it fits.
    fn resend(&mut self, track: &mut Track, entry: &Entry) -> Again {
        let Way { path, owner, cap, .. } = *self;
        let train = self.egress.train(path, owner, cap, Content::Other, entry.room());
        repair::resend(&mut train.riding(), track, self.sealer, entry)
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
    let header = track.template.write_header(packet, numbers, buffer);
    match write_payload(packet, header, buffer) {
        Some(end) => sealer.seal_rtp(index, buffer, header, end),
        None => 0,
    }
}

/// Writes payload and padding at `start`; where they end.
fn write_payload(packet: &Packet, start: usize, buffer: &mut [u8]) -> Option<usize> {
    let payload = packet.payload();
    let (end, padding) = (start + payload.len(), usize::from(packet.padding));
    buffer.get_mut(start..end)?.copy_from_slice(payload);
    let target = buffer.get_mut(end..end + padding)?;
    // RFC 3550 §5.1: the last byte of padding counts it, itself included.
    if let Some((last, zeros)) = target.split_last_mut() {
        zeros.fill(0);
        *last = packet.padding;
    }
    Some(end + padding)
}

const _: () = assert!(MAX_TRAIN < u8::MAX as usize);
