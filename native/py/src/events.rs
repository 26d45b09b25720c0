//! The engine's events as Python takes them: the class name of `pyforward/commands.py` and the
//! fields in its order.

use std::net::SocketAddr;

use pyforward_core::command::CloseReason;
use pyforward_core::event::{Event, SessionReport, TrackReport};
use pyforward_core::ids::{SessionId, ShardIndex, Ticket};
use pyforward_core::media::{Codec, Kind};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::Book;

/// A class name and the fields.
pub(crate) type Told<'py> = (&'static str, Bound<'py, PyTuple>);

macro_rules! events {
    ($($class:ident($($field:ident),*);)*) => {
        /// Events by class name, with their fields.
        pub(crate) const EVENTS: Book =
            &[$((stringify!($class), &[$(stringify!($field)),*])),*];

        /// Puts an event into Python's form.
        pub(crate) fn tell(py: Python<'_>, event: Event) -> PyResult<Told<'_>> {
            match event {
                $(Event::$class { $($field),* } => {
                    let fields: Vec<Bound<'_, PyAny>> = vec![$($field.tell(py)?),*];
                    Ok((stringify!($class), PyTuple::new(py, fields)?))
                })*
            }
        }
    };
}

events! {
    Opened(session, port);
    Claimed(session, shard, address);
    DtlsReceived(session, datagram);
    Secured(session);
    Flowing(session);
    Closed(session, reason);
    Report(ticket, shard, rows);
    Records(shard, records);
    Stopped(shard);
}

macro_rules! rows {
    ($($row:ident($($field:ident),* $(,)?);)*) => {
        /// The rows of a `Report` and what they carry, by class name, with their fields.
        pub(crate) const ROWS: Book =
            &[$((stringify!($row), &[$(stringify!($field)),*])),*];

        $(impl Tell for $row {
            fn tell(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                let $row { $($field),* } = self;
                let fields: Vec<Bound<'_, PyAny>> = vec![$($field.tell(py)?),*];
                Ok(PyTuple::new(py, fields)?.into_any())
            }
        })*
    };
}

rows! {
    SessionReport(
        session,
        state,
        shard,
        address,
        srtp_profile,
        packets,
        bytes,
        nacks,
        repaired,
        drops,
        loss,
        rtt_ms,
        bitrate_bps,
        keyframe_interval_ms,
        tracks,
    );
    TrackReport(
        kind,
        codec,
        packets_expected,
        packets_received,
        packets_repaired,
        packets_lost,
        bytes,
        jitter_ms,
        frames,
        keyframes,
        first_packet_ms,
        first_keyframe_ms,
    );
}

/// A type that Python can be told.
trait Tell {
    fn tell(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>>;
}

macro_rules! plainly {
    ($($type:ty: $value:ident => $plain:expr;)*) => {
        $(impl Tell for $type {
            fn tell(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                let $value = self;
                $plain.into_bound_py_any(py)
            }
        })*
    };
}

plainly! {
    u64: number => number;
    u16: number => number;
    f64: number => number;
    &'static str: text => text;
    SessionId: id => id.0;
    ShardIndex: index => index.0;
    Ticket: ticket => ticket.0;
    CloseReason: reason => reason.name();
    Kind: kind => kind.name();
    Codec: codec => codec.name();
    SocketAddr: address => (address.ip().to_string(), address.port());
}

impl Tell for Vec<u8> {
    fn tell(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(PyBytes::new(py, &self).into_any())
    }
}

fn tell_rows<T: Tell>(py: Python<'_>, rows: Vec<T>) -> PyResult<Bound<'_, PyAny>> {
    let rows: Vec<_> = rows.into_iter().map(|row| row.tell(py)).collect::<PyResult<_>>()?;
    Ok(PyTuple::new(py, rows)?.into_any())
}

impl Tell for Vec<SessionReport> {
    fn tell(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        tell_rows(py, self)
    }
}

impl Tell for Vec<TrackReport> {
    fn tell(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        tell_rows(py, self)
    }
}

impl<T: Tell> Tell for Option<T> {
    fn tell(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Some(value) => value.tell(py),
            None => Ok(py.None().into_bound(py)),
        }
    }
}
