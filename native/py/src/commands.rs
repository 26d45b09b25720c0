//! The dataclasses of `pyforward/commands.py`, read into the engine's commands.
//!
//! Each is declared once: from the declaration follow how it is read and the vocabulary that the
//! module shows, which a contract test holds against the dataclasses.

use std::net::IpAddr;
use std::time::Duration;

use pyforward_core::claim::{Claim, Proven};
use pyforward_core::command::{
    AddSession, Command, IceCredentials, Media, PublishTrack, RemoteCandidate, RestartIce,
    SubscribeTrack, Trial,
};
use pyforward_core::ids::{PayloadType, SessionId, Ssrc, StreamId, Ticket};
use pyforward_core::link::{Link, Links};
use pyforward_core::media::{Codec, Extension, Format, Kind};
use pyforward_core::srtp::{KeyMaterial, Profile};
use pyo3::intern;
use pyo3::prelude::*;

use crate::Book;
use crate::errors::Wrong;
use crate::read::{ExtensionId, Port, Read, class_of, field, must_be};

/// Reads a command, whichever it is.
pub(crate) fn read(value: &Bound<'_, PyAny>) -> Result<Command, Wrong> {
    let class = class_of(value);
    read_command(&class, value).map_err(|wrong| wrong.within(&class))
}

/// `Class(field: type, …) = what is made of them`
macro_rules! commands {
    ($($class:ident($($field:ident: $type:ty),* $(,)?) = $made:expr;)*) => {
        /// Commands by class name, with their fields.
        pub(crate) const COMMANDS: Book =
            &[$((stringify!($class), &[$(stringify!($field)),*])),*];

        fn read_command(class: &str, value: &Bound<'_, PyAny>) -> Result<Command, Wrong> {
            match class {
                $(stringify!($class) => {
                    $(let $field: $type =
                        field(value, intern!(value.py(), stringify!($field)))?;)*
                    Ok($made)
                })*
                _ => Err(Wrong::type_of("is no command".to_owned())),
            }
        }
    };
}

/// `Class(field: type, …) -> type = what is made of them`
macro_rules! records {
    ($($class:ident($($field:ident: $type:ty),* $(,)?) -> $target:ty = $made:expr;)*) => {
        /// What commands carry, by class name, with their fields.
        pub(crate) const RECORDS: Book =
            &[$((stringify!($class), &[$(stringify!($field)),*])),*];

        $(impl Read for $target {
            fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
                if class_of(value) != stringify!($class) {
                    return Err(must_be(stringify!($class), value));
                }
                $(let $field: $type = field(value, intern!(value.py(), stringify!($field)))?;)*
                Ok($made)
            }
        })*
    };
}

commands! {
    AddStream(stream: StreamId) = Command::AddStream { stream };
    RemoveStream(stream: StreamId) = Command::RemoveStream { stream };
    AddSession(
        session: SessionId,
        ice: Option<IceCredentials>,
        media: Media,
        candidates: Vec<RemoteCandidate>,
        trial: Option<Trial>,
    ) = Command::AddSession(Box::new(AddSession {
        session,
        ice,
        media: media.into(),
        candidates,
        trial: trial.map(Box::new),
        claim: Claim::default(),
    }));
    RestartIce(session: SessionId, ice: IceCredentials) =
        Command::RestartIce(Box::new(RestartIce { session, ice, proven: Proven::default() }));
    SendDtls(session: SessionId, datagrams: Vec<Vec<u8>>) =
        Command::SendDtls { session, datagrams };
    InstallKeys(
        session: SessionId,
        profile: Profile,
        local_key: Vec<u8>,
        local_salt: Vec<u8>,
        remote_key: Vec<u8>,
        remote_salt: Vec<u8>,
    ) = Command::InstallKeys {
        session,
        profile,
        local: KeyMaterial::new(profile, &local_key, &local_salt)?,
        remote: KeyMaterial::new(profile, &remote_key, &remote_salt)?,
    };
    KeepFarewell(session: SessionId, close_notify: Vec<u8>) =
        Command::KeepFarewell { session, close_notify };
    RemoveSession(session: SessionId, reason: pyforward_core::command::CloseReason) =
        Command::RemoveSession { session, reason };
    InjectRtp(session: SessionId, packets: Vec<Vec<u8>>, stamped: bool) =
        Command::InjectRtp { session, packets, stamped };
    ReportSessions(ticket: Ticket, sessions: Vec<SessionId>) =
        Command::ReportSessions { ticket, sessions };
    Stop() = Command::Stop;
}

records! {
    IceCredentials(
        local_ufrag: String,
        local_pwd: String,
        remote_ufrag: String,
        remote_pwd: String,
    ) -> IceCredentials = IceCredentials { local_ufrag, local_pwd, remote_ufrag, remote_pwd };
    RemoteCandidate(address: IpAddr, port: Port, priority: u32) -> RemoteCandidate =
        RemoteCandidate { address: (address.to_canonical(), port.0).into(), priority };
    Link(
        loss: f64,
        burst: f64,
        delay_us: u32,
        jitter_us: u32,
        reorder: f64,
        seed: u32,
    ) -> Link = Link {
        loss,
        burst,
        delay: micros(delay_us),
        jitter: micros(jitter_us),
        reorder,
        seed: seed.into(),
    };
    Trial(
        record_as: Option<u32>,
        inbound: Option<Link>,
        outbound: Option<Link>,
        report_interval_ms: Option<u32>,
    ) -> Trial = Trial {
        record_as,
        links: Links { inbound, outbound },
        report_interval: report_interval_ms.map(|ms| Duration::from_millis(ms.into())),
    };
    Format(
        codec: Codec,
        payload_type: PayloadType,
        rtx_payload_type: Option<PayloadType>,
    ) -> Format = Format { codec, payload_type, rtx_payload_type };
    PublishTrack(
        kind: Kind,
        mid: String,
        codec: Codec,
        payload_type: PayloadType,
        rtx_payload_type: Option<PayloadType>,
        clock_rate: u32,
        ssrcs: Vec<Ssrc>,
        rtx_ssrcs: Vec<(Ssrc, Ssrc)>,
        rids: Vec<String>,
        extensions: Vec<(ExtensionId, Extension)>,
        feedback_ssrc: Ssrc,
        nack: bool,
        pli: bool,
        fir: bool,
        reduced_size: bool,
        transport_cc: bool,
        remb: bool,
        parameter_sets: Vec<Vec<u8>>,
        alternatives: Vec<Format>,
    ) -> PublishTrack = PublishTrack {
        kind,
        mid,
        codec,
        payload_type,
        rtx_payload_type,
        clock_rate,
        ssrcs,
        rtx_ssrcs,
        rids,
        extensions: by_id(extensions),
        feedback_ssrc,
        nack,
        pli,
        fir,
        reduced_size,
        transport_cc,
        remb,
        parameter_sets,
        alternatives,
    };
    SubscribeTrack(
        kind: Kind,
        mid: String,
        clock_rate: u32,
        ssrc: Ssrc,
        rtx_ssrc: Option<Ssrc>,
        formats: Vec<Format>,
        extensions: Vec<(ExtensionId, Extension)>,
        extmap_allow_mixed: bool,
        nack: bool,
        rrtr: bool,
    ) -> SubscribeTrack = SubscribeTrack {
        kind,
        mid,
        clock_rate,
        ssrc,
        rtx_ssrc,
        formats,
        extensions: by_id(extensions),
        extmap_allow_mixed,
        nack,
        rrtr,
    };
    Publish(stream: StreamId, tracks: Vec<PublishTrack>) -> Publish =
        Publish(Media::Publish { stream, tracks });
    Subscribe(stream: StreamId, tracks: Vec<SubscribeTrack>, cname: String) -> Subscribe =
        Subscribe(Media::Subscribe { stream, tracks, cname });
}

/// [`Media`] of one class.
struct Publish(Media);
struct Subscribe(Media);

impl Read for Media {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        match class_of(value).as_str() {
            "Publish" => Publish::read(value).map(|publish| publish.0),
            "Subscribe" => Subscribe::read(value).map(|subscribe| subscribe.0),
            _ => Err(must_be("Publish or Subscribe", value)),
        }
    }
}

fn micros(us: u32) -> Duration {
    Duration::from_micros(us.into())
}

fn by_id(extensions: Vec<(ExtensionId, Extension)>) -> Vec<(u8, Extension)> {
    extensions.into_iter().map(|(id, extension)| (id.0, extension)).collect()
}
