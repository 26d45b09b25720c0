//! From an SSRC to its track, and to the encoding that it carries or repairs.
//!
//! An SSRC is known because SDP announced it, or is learned: by MID, which always overrides
//! (RFC 8843 §9.2), or by its payload type where SDP announced none for the track. Simulcast layers
//! are told apart by RID, the SSRC of retransmissions belongs to the layer that its pair
//! (`ssrc-group:FID`) or its repaired RID names (RFC 8852 §3.2).

use std::ops::Range;

use arrayvec::ArrayVec;

use super::header::Header;
use super::track::Track;
use crate::command::PublishTrack;
use crate::discard::Discard;
use crate::ids::{PayloadType, Ssrc};
use crate::rtp::View;
use crate::time::Time;

/// Most SSRCs of a publisher; as many as its replay state is kept for.
const MAX_SSRCS: usize = 32;

/// What a packet is, by its payload type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Media.
    Media,
    /// A retransmission (RFC 4588).
    Retransmission,
}

/// Where a packet belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) track: usize,
    /// Of media always known; of a retransmission not until something tells.
    pub(super) encoding: Option<usize>,
    pub(super) role: Role,
}

/// The SSRCs of one publisher.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: ArrayVec<Route, MAX_SSRCS>,
}

#[derive(Debug)]
struct Route {
    ssrc: Ssrc,
    track: usize,
    encoding: Option<usize>,
}

impl Routes {
    /// What SDP announced.
    pub(super) fn new(tracks: &[PublishTrack]) -> Routes {
        let mut routes = Routes::default();
        for (track, announced) in tracks.iter().enumerate() {
            let pairs = announced.rtx_ssrcs.iter().flat_map(|(media, rtx)| [*media, *rtx]);
            for ssrc in announced.ssrcs.iter().copied().chain(pairs) {
                if routes.known.iter().all(|route| route.ssrc != ssrc) {
                    let _ = routes.known.try_push(Route { ssrc, track, encoding: None });
                }
            }
        }
        routes
    }

    /// Where this packet belongs; learns its SSRC and adds its encoding to the track if need be.
    pub(super) fn find(
        &mut self,
        now: Time,
        view: &View,
        header: &Header,
        packet: &[u8],
        tracks: &mut [Track],
    ) -> Result<Found, Discard> {
        let by_mid = match value(packet, header.mid.as_ref()) {
            None => None,
            Some(mid) => {
                let named = |track: &Track| track.config.mid.as_bytes() == mid;
                Some(tracks.iter().position(named).ok_or(Discard::RtpUnknownSsrc)?)
            }
        };
        let known = self.known.iter().position(|route| route.ssrc == view.ssrc);
        let known_route = known.and_then(|at| self.known.get(at));
        let by_type = || tracks.iter().position(|track| role(track, view).is_some());
        let at = by_mid
            .or_else(|| known_route.map(|route| route.track))
            .or_else(by_type)
            .ok_or(Discard::RtpUnknownSsrc)?;
        let track = tracks.get_mut(at).ok_or(Discard::RtpUnknownSsrc)?;
        let role = role(track, view).ok_or(Discard::RtpPayloadType)?;
        let settled =
            known_route.filter(|route| route.track == at).and_then(|route| route.encoding);
        if settled.is_some() {
            return Ok(Found { track: at, encoding: settled, role });
        }
        if known.is_none() && (self.known.is_full() || is_foreign(role, by_mid, track)) {
            return Err(Discard::RtpUnknownSsrc);
        }
        let encoding = match role {
            Role::Media => Some(media_encoding(now, view.ssrc, header, packet, track)?),
            Role::Retransmission => repaired_encoding(view.ssrc, header, packet, track),
        };
        let route = Route { ssrc: view.ssrc, track: at, encoding };
        match known.and_then(|at| self.known.get_mut(at)) {
            Some(known) => *known = route,
            None => drop(self.known.try_push(route)),
        }
        Ok(Found { track: at, encoding, role })
    }

    /// Packets of this SSRC turned out to repair that encoding.
    pub(super) fn settle(&mut self, ssrc: Ssrc, encoding: usize) {
        if let Some(route) = self.known.iter_mut().find(|route| route.ssrc == ssrc) {
            route.encoding = Some(encoding);
        }
    }
}

/// SDP announced the track's SSRCs, this is another, and no MID relates it (RFC 8843 §9.2).
fn is_foreign(role: Role, by_mid: Option<usize>, track: &Track) -> bool {
    role == Role::Media && by_mid.is_none() && !track.config.ssrcs.is_empty()
}

fn role(track: &Track, view: &View) -> Option<Role> {
    let wanted = view.payload_type;
    let of = |media: PayloadType, rtx: Option<PayloadType>| match (media == wanted, rtx) {
        (true, _) => Some(Role::Media),
        (false, Some(rtx)) if rtx == wanted => Some(Role::Retransmission),
        (false, _) => None,
    };
    let config = &track.config;
    let other = || config.alternatives.iter().find_map(|f| of(f.payload_type, f.rtx_payload_type));
    of(config.payload_type, config.rtx_payload_type).or_else(other)
}

fn media_encoding(
    now: Time,
    ssrc: Ssrc,
    header: &Header,
    packet: &[u8],
    track: &mut Track,
) -> Result<usize, Discard> {
    if let Some(known) = track.encodings.iter().position(|encoding| encoding.ssrc == ssrc) {
        return Ok(known);
    }
    let rid = value(packet, header.rid.as_ref());
    let rid = rid.and_then(|rid| track.config.rids.iter().position(|own| own.as_bytes() == rid));
    if track.is_simulcast() && rid.is_none() {
        return Err(Discard::RtpUnknownSsrc);
    }
    Ok(track.add_encoding(now, ssrc, rid))
}

fn repaired_encoding(ssrc: Ssrc, header: &Header, packet: &[u8], track: &Track) -> Option<usize> {
    let pair = track.config.rtx_ssrcs.iter().find(|(_, rtx)| *rtx == ssrc);
    if let Some((media, _)) = pair {
        return track.encodings.iter().position(|encoding| encoding.ssrc == *media);
    }
    if let Some(rid) = value(packet, header.repaired_rid.as_ref()) {
        let rid = track.config.rids.iter().position(|own| own.as_bytes() == rid)?;
        // The newest: a layer that came back with another SSRC has retransmissions to match.
        return track.encodings.iter().rposition(|encoding| encoding.rid == Some(rid));
    }
    None
}

fn value<'a>(packet: &'a [u8], range: Option<&Range<usize>>) -> Option<&'a [u8]> {
    packet.get(range?.clone())
}
