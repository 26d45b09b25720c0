//! The way of one packet from its opening to the gatherer.

use super::Source;
use super::header::Header;
use super::layers::Verdict;
use super::routes::{Found, Role};
use super::track::Track;
use crate::discard::Discard;
use crate::ids::PayloadType;
use crate::jitter::{Arrival, Order};
use crate::media::{Codec, Kind};
use crate::packet::{ForwardedExtensions, Packet};
use crate::record::{Record, flag};
use crate::rtp::{View, codec};
use crate::stamp;
use crate::stats::{Counter, Stats};
use crate::time::Time;

/// A retransmission starts with the sequence number of its original (RFC 4588 §4).
const OSN_LEN: usize = 2;

/// A media packet, a retransmission already unwrapped.
struct Incoming<'a> {
    /// As opened; `header` points into it.
    packet: &'a [u8],
    header: &'a Header,
    payload: &'a [u8],
    payload_type: PayloadType,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    wire_len: usize,
    retransmitted: bool,
}

/// See [`Source::handle_rtp`].
pub(super) fn handle_rtp(
    source: &mut Source,
    now: Time,
    view: &View,
    packet: &[u8],
    wire_len: usize,
    stats: &mut Stats,
) -> Result<(), Discard> {
    let header = Header::read(view, packet, &source.extension_ids);
    // Whatever becomes of it, it took its share of the path.
    if let (Some(arrivals), Some(sequence)) = (&mut source.arrivals, header.transport_sequence) {
        arrivals.record(now, sequence);
    }
    let range = view.payload(packet)?;
    let payload = packet.get(range).ok_or(Discard::RtpShort)?;
    let found = source.routes.find(now, view, &header, packet, &mut source.tracks)?;
    source.feedback.started(now);
    let mut incoming = Incoming {
        packet,
        header: &header,
        payload,
        payload_type: view.payload_type,
        sequence: view.sequence,
        timestamp: view.timestamp,
        marker: view.marker,
        wire_len,
        retransmitted: false,
    };
    let encoding = match (found.role, found.encoding) {
        (Role::Media, Some(encoding)) => encoding,
        (Role::Media, None) => return Err(Discard::RtpUnknownSsrc),
        (Role::Retransmission, _) => {
            if payload.is_empty() {
                stats.add(Counter::PacketsInProbe, 1);
                stats.add(Counter::BytesInProbe, wire_len as u64);
                return Ok(());
            }
            let (osn, original) = payload.split_first_chunk::<OSN_LEN>().ok_or(Discard::RtpRtx)?;
            incoming.sequence = u16::from_be_bytes(*osn);
            incoming.payload = original;
            incoming.retransmitted = true;
            repaired(source, view, found, incoming.sequence).ok_or(Discard::RtpRtx)?
        }
    };
    accept(source, now, found.track, encoding, &incoming, stats)
}

/// The encoding that a retransmission repairs. Where nothing but the sequence number tells, it is
/// the one that misses this packet, and stays so (RFC 4588 §5.3).
fn repaired(source: &mut Source, view: &View, found: Found, osn: u16) -> Option<usize> {
    if found.encoding.is_some() {
        return found.encoding;
    }
    let encodings = &source.tracks.get(found.track)?.encodings;
    let encoding = match encodings.len() {
        1 => 0,
        _ => encodings.iter().position(|encoding| encoding.jitter.is_missing(osn))?,
    };
    source.routes.settle(view.ssrc, encoding);
    Some(encoding)
}

fn accept(
    source: &mut Source,
    now: Time,
    track: usize,
    encoding: usize,
    incoming: &Incoming<'_>,
    stats: &mut Stats,
) -> Result<(), Discard> {
    let retry = source.feedback.retry();
    let track = source.tracks.get_mut(track).ok_or(Discard::RtpUnknownSsrc)?;
    let arrival = receive(track, now, encoding, incoming)?;
    let late = matches!(arrival.order, Order::Late { .. });
    if !late && !incoming.retransmitted {
        track.adopt(incoming.payload_type);
    }
    let shows = inspect(track.config.codec, incoming.payload);
    let starts = track.config.kind == Kind::Audio || shows.keyframe || shows.parameter_sets;
    let entry = !late && !incoming.payload.is_empty() && starts;
    let previous = track.layers.forwarded();
    let verdict = track.layers.judge(encoding, entry);
    match verdict {
        Verdict::Drop => return Err(Discard::RtpLayer),
        Verdict::Switch => {
            source.gatherer.flush();
            track.switch(now, previous, encoding, arrival.sequence, incoming.timestamp);
        }
        Verdict::Forward if arrival.order == Order::Restarted => {
            source.gatherer.flush();
            // One position is left out, so that a decoder knows that something is missing.
            track.timeline.restart(arrival.sequence, 1);
            track.request_keyframe(now, stats);
        }
        Verdict::Forward => {}
    }
    track.counts.packet(now, incoming.timestamp, !late, incoming.wire_len);
    let asked_for = matches!(arrival.order, Order::Late { repaired: true, .. });
    track.counts.repaired += u64::from(asked_for || incoming.retransmitted);
    if let Order::Late { repaired, answered_in } = arrival.order {
        source.counts.repaired += u64::from(repaired);
        // A plain packet may have crossed the request: that tells nothing of the round trip.
        if let Some(answered_in) = answered_in.filter(|_| incoming.retransmitted) {
            source.feedback.answered(answered_in);
        }
    }
    if !matches!(arrival.order, Order::Late { .. } | Order::Newest { gap: 0 }) {
        source.counts.wants(track.ask_missing(now, retry, stats));
    }
    if incoming.payload.is_empty() {
        stats.add(Counter::PacketsInPadding, 1);
        stats.add(Counter::BytesInPadding, incoming.wire_len as u64);
        if !late {
            track.timeline.close_up(arrival.sequence);
            return Ok(());
        }
        // Viewers have a gap where it belongs: it is closed by a packet without payload.
    }
    observe_pictures(track, now, incoming, shows, late, stats);
    if incoming.marker && track.keyframe_timestamp == Some(incoming.timestamp) {
        track.counts.first_keyframe.get_or_insert(now);
    }
    if verdict == Verdict::Switch {
        track.repeat_keyframe_request(now, stats);
    }
    if let Some(viewer) = source.config.record_as {
        let stamp = stamp::read(incoming.payload, source.config.machine_clock);
        source.record = Some(Record { stamp, ..recorded(track, now, viewer, incoming, arrival) });
    }
    if !source.forwards {
        if !incoming.payload.is_empty() {
            count_media(stats, incoming, arrival.order);
            source.counts.media(now, incoming.wire_len);
        }
        return Ok(());
    }
    if !late && let Some(inserted) = missing_parameter_sets(track, now, incoming, arrival, shows) {
        source.gatherer.push(now, inserted);
    }
    let sequence = track.timeline.place(arrival.sequence).ok_or(Discard::RtpLate)?;
    if !incoming.payload.is_empty() {
        count_media(stats, incoming, arrival.order);
        source.counts.media(now, incoming.wire_len);
    }
    let packet = assemble(track, now, incoming, sequence, shows);
    if late {
        source.gatherer.push_late(packet);
    } else {
        track.newest = Some((now, packet.timestamp));
        source.gatherer.push(now, packet);
    }
    Ok(())
}

/// What is recorded of a packet, without its stamp, as if it had come just now.
fn recorded(
    track: &Track,
    now: Time,
    viewer: u32,
    incoming: &Incoming<'_>,
    arrival: Arrival,
) -> Record {
    let asked_for = matches!(arrival.order, Order::Late { repaired: true, .. });
    let flags = [
        (track.config.kind == Kind::Video, flag::VIDEO),
        (incoming.marker, flag::MARKER),
        (track.keyframe_timestamp == Some(incoming.timestamp), flag::KEYFRAME),
        (matches!(arrival.order, Order::Late { .. }), flag::LATE),
        (asked_for || incoming.retransmitted, flag::REPAIRED),
        (arrival.order == Order::Restarted, flag::RESTARTED),
    ];
    Record {
        arrival: now,
        viewer,
        sequence: arrival.sequence,
        timestamp: incoming.timestamp,
        stamp: None,
        size: u16::try_from(incoming.wire_len).unwrap_or(u16::MAX),
        flags: flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).sum(),
    }
}

/// Takes it into the books of its encoding.
fn receive(
    track: &mut Track,
    now: Time,
    encoding: usize,
    incoming: &Incoming<'_>,
) -> Result<Arrival, Discard> {
    let encoding = track.encodings.get_mut(encoding).ok_or(Discard::RtpUnknownSsrc)?;
    let Incoming { sequence, timestamp, retransmitted, .. } = *incoming;
    let arrival = encoding.jitter.receive(now, sequence, timestamp, retransmitted).map_err(
        // A retransmission of what is here: a probe of the publisher's bandwidth estimate.
        |reason| if retransmitted { Discard::RtpRtx } else { reason },
    )?;
    encoding.bytes += incoming.wire_len as u64;
    if track.config.kind == Kind::Video && !matches!(arrival.order, Order::Late { .. }) {
        // Padding belongs to no frame.
        encoding.jitter.set_frame_whole(now, incoming.marker || incoming.payload.is_empty());
    }
    Ok(arrival)
}

fn inspect(codec: Codec, payload: &[u8]) -> codec::Inspection {
    if payload.is_empty() { codec::Inspection::default() } else { codec::inspect(codec, payload) }
}

/// Keeps the track's knowledge of keyframes, parameter sets and playout delay.
fn observe_pictures(
    track: &mut Track,
    now: Time,
    incoming: &Incoming<'_>,
    shows: codec::Inspection,
    late: bool,
    stats: &mut Stats,
) {
    if track.config.kind != Kind::Video {
        return;
    }
    let timestamp = incoming.timestamp;
    if shows.parameter_sets && !late && track.config.codec == Codec::H264 {
        track.parameter_sets.see(timestamp, incoming.payload);
    }
    if !late && let Some(value) = incoming.header.playout_delay(incoming.packet) {
        track.playout_delay = Some(value);
    }
    if (shows.keyframe || shows.parameter_sets) && !late {
        track.keyframe_timestamp = Some(timestamp);
    }
    if shows.keyframe && track.counted_keyframe != Some(timestamp) {
        track.counted_keyframe = Some(timestamp);
        track.keyframes.keyframe(now);
        track.counts.keyframes += 1;
        stats.add(Counter::Keyframes, 1);
    } else {
        track.keyframes.picture(now);
    }
}

/// The packet that goes before an IDR picture without parameter sets of its own.
fn missing_parameter_sets(
    track: &mut Track,
    now: Time,
    incoming: &Incoming<'_>,
    arrival: Arrival,
    shows: codec::Inspection,
) -> Option<Packet> {
    if !shows.keyframe || shows.parameter_sets || track.config.codec != Codec::H264 {
        return None;
    }
    let gap = match arrival.order {
        Order::Newest { gap } => gap,
        Order::Restarted | Order::Late { .. } => 0,
    };
    let payload = track.parameter_sets.before_idr(incoming.timestamp, gap)?;
    let sequence = track.timeline.insert_before(arrival.sequence)?;
    let (bytes, extensions, payload_start) =
        Header::default().assemble(&[], &payload, track.playout_delay);
    let shows = codec::Inspection { keyframe: false, parameter_sets: true };
    let parts = (bytes, extensions, payload_start);
    Some(packet(track, now, incoming.timestamp, false, sequence, shows, parts))
}

fn assemble(
    track: &Track,
    now: Time,
    incoming: &Incoming<'_>,
    sequence: u64,
    shows: codec::Inspection,
) -> Packet {
    let of_keyframe = track.keyframe_timestamp == Some(incoming.timestamp);
    let playout_delay = track.playout_delay.filter(|_| of_keyframe);
    let parts = incoming.header.assemble(incoming.packet, incoming.payload, playout_delay);
    packet(track, now, incoming.timestamp, incoming.marker, sequence, shows, parts)
}

fn packet(
    track: &Track,
    now: Time,
    timestamp: u32,
    marker: bool,
    sequence: u64,
    shows: codec::Inspection,
    (bytes, extensions, payload_start): (Box<[u8]>, ForwardedExtensions, u16),
) -> Packet {
    Packet {
        arrival: now,
        sequence,
        timestamp: track.timeline.timestamp(timestamp),
        kind: track.config.kind,
        codec: track.config.codec,
        payload_type: track.config.payload_type,
        marker,
        keyframe: shows.keyframe || shows.parameter_sets,
        padding: 0,
        extensions,
        bytes,
        payload_start,
    }
}

fn count_media(stats: &mut Stats, incoming: &Incoming<'_>, order: Order) {
    let asked_for = matches!(order, Order::Late { repaired: true, .. });
    let (packets, bytes) = if incoming.retransmitted || asked_for {
        (Counter::PacketsInRetransmission, Counter::BytesInRetransmission)
    } else {
        (Counter::PacketsIn, Counter::BytesIn)
    };
    stats.add(packets, 1);
    stats.add(bytes, incoming.wire_len as u64);
}
