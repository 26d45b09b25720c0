//! Reading Python's values into the engine's types, with a sentence where one will not do.

use std::net::IpAddr;

use pyforward_core::command::CloseReason;
use pyforward_core::ids::{PayloadType, SessionId, Ssrc, StreamId, Ticket};
use pyforward_core::media::{Codec, Extension, Kind};
use pyforward_core::srtp::Profile;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyList, PyString, PyTuple};

use crate::errors::Wrong;

/// A type that can be read from a value of Python's.
pub(crate) trait Read: Sized {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong>;
}

/// The id of a negotiated header extension (RFC 8285 §5): 1 to 255.
pub(crate) struct ExtensionId(pub u8);

/// A port that something can be sent to: 1 to 65,535.
pub(crate) struct Port(pub u16);

/// Reads an attribute of a dataclass.
pub(crate) fn field<T: Read>(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
) -> Result<T, Wrong> {
    let place = || format!(".{name}");
    match object.getattr(name) {
        Ok(value) => T::read(&value).map_err(|wrong| wrong.within(&place())),
        Err(_) => Err(Wrong::type_of("is missing".to_owned()).within(&place())),
    }
}

/// The name of the value's class.
pub(crate) fn class_of(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

/// A value of another class than the one that is wanted.
pub(crate) fn must_be(wanted: &str, value: &Bound<'_, PyAny>) -> Wrong {
    Wrong::type_of(format!("must be {wanted}, not {}", class_of(value)))
}

macro_rules! by_name {
    ($($type:ident = $name:literal),* $(,)?) => {
        $(impl Read for $type {
            fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
                let name = String::read(value)?;
                $type::from_name(&name).ok_or_else(|| {
                    let names = $type::ALL.map($type::name).join(", ");
                    Wrong::value(format!("must be one of {names}, not '{name}'"))
                })
            }
        })*

        /// Every enumeration that travels by name, with its names.
        pub(crate) fn enumerations() -> Vec<(&'static str, Vec<&'static str>)> {
            vec![$(($name, $type::ALL.map($type::name).to_vec())),*]
        }
    };
}

by_name! {
    Kind = "Kind",
    Codec = "Codec",
    Extension = "Extension",
    Profile = "SrtpProfile",
    CloseReason = "CloseReason",
}

macro_rules! numbers {
    ($($type:ident($inner:ty) from $least:literal to $most:expr;)*) => {
        $(impl Read for $type {
            fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
                Ok($type(number(value, $least, u64::from($most))? as $inner))
            }
        })*
    };
}

numbers! {
    SessionId(u64) from 0 to u64::MAX;
    StreamId(u64) from 0 to u64::MAX;
    Ticket(u64) from 0 to u64::MAX;
    Ssrc(u32) from 0 to u32::MAX;
    PayloadType(u8) from 0 to 127u8;
    ExtensionId(u8) from 1 to u8::MAX;
    Port(u16) from 1 to u16::MAX;
}

impl Read for u32 {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        Ok(number(value, 0, u32::MAX.into())? as u32)
    }
}

impl Read for f64 {
    /// A number of any size, but a number.
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        let number: f64 = value.extract().map_err(|_| must_be("a float", value))?;
        let finite = number.is_finite();
        finite.then_some(number).ok_or_else(|| Wrong::value("must be finite".to_owned()))
    }
}

fn number(value: &Bound<'_, PyAny>, least: u64, most: u64) -> Result<u64, Wrong> {
    let number = value.cast::<PyInt>().map_err(|_| must_be("an int", value))?;
    let within = number.extract().ok().filter(|number| (least..=most).contains(number));
    within.ok_or_else(|| Wrong::value(format!("must be from {least} to {most}, not {number}")))
}

impl Read for bool {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        value.cast::<PyBool>().map(|value| value.is_true()).map_err(|_| must_be("a bool", value))
    }
}

impl Read for String {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        let text = value.cast::<PyString>().map_err(|_| must_be("a str", value))?;
        let text = text.to_cow().map_err(|_| Wrong::value("must be valid Unicode".to_owned()))?;
        Ok(text.into_owned())
    }
}

impl Read for IpAddr {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        let text = String::read(value)?;
        let wrong = || Wrong::value(format!("must be an IP address, not '{text}'"));
        text.parse().map_err(|_| wrong())
    }
}

impl Read for Vec<u8> {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        value
            .cast::<PyBytes>()
            .map(|bytes| bytes.as_bytes().to_vec())
            .map_err(|_| must_be("bytes", value))
    }
}

impl<T: Read> Read for Option<T> {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        if value.is_none() { Ok(None) } else { T::read(value).map(Some) }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        if !value.is_instance_of::<PyTuple>() && !value.is_instance_of::<PyList>() {
            return Err(must_be("a tuple", value));
        }
        let items = value.try_iter().map_err(|_| must_be("a tuple", value))?;
        let read = |(index, item): (usize, PyResult<Bound<'_, PyAny>>)| {
            let item = item.map_err(|_| must_be("a tuple", value))?;
            T::read(&item).map_err(|wrong| wrong.within(&format!("[{index}]")))
        };
        items.enumerate().map(read).collect()
    }
}

impl<A: Read, B: Read> Read for (A, B) {
    fn read(value: &Bound<'_, PyAny>) -> Result<Self, Wrong> {
        let Ok((first, second)) = value.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>() else {
            return Err(must_be("a pair", value));
        };
        let first = A::read(&first).map_err(|wrong| wrong.within("[0]"))?;
        let second = B::read(&second).map_err(|wrong| wrong.within("[1]"))?;
        Ok((first, second))
    }
}
