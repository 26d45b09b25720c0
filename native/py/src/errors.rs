//! How errors become Python's; the only place that makes exceptions.

use pyforward_core::discard::Discard;
use pyforward_core::srtp::KeyLengthError;
use pyforward_io::engine::{StartError, Stopped};
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};

/// Anything that can go wrong between Python and the engine.
pub(crate) enum Error {
    /// What Python gave has the wrong type or value; see [`Wrong`].
    Wrong(Wrong),
    /// The engine did not start.
    Start(StartError),
    /// The engine was stopped.
    Stopped,
    /// A packet was refused.
    Discard(Discard),
    /// Python raised it itself, while it was asked for something.
    Raised(PyErr),
}

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        match error {
            Error::Wrong(Wrong { place, sentence, fault }) => {
                let text = format!("{place} {sentence}");
                match fault {
                    Fault::Type => PyTypeError::new_err(text),
                    Fault::Value => PyValueError::new_err(text),
                }
            }
            Error::Start(error) => PyOSError::new_err((error.errno, error.to_string())),
            Error::Stopped => PyRuntimeError::new_err("the engine was stopped"),
            Error::Discard(reason) => PyValueError::new_err(reason.name()),
            Error::Raised(error) => error,
        }
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Error {
        Error::Wrong(wrong)
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Error {
        Error::Start(error)
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Error {
        Error::Stopped
    }
}

impl From<Discard> for Error {
    fn from(reason: Discard) -> Error {
        Error::Discard(reason)
    }
}

impl From<PyErr> for Error {
    fn from(error: PyErr) -> Error {
        Error::Raised(error)
    }
}

/// A value of Python's that will not do: `place` is where it stands, as one would write it
/// (`AddSession.media.tracks[0].codec`), `sentence` says what it must be.
pub(crate) struct Wrong {
    place: String,
    sentence: String,
    fault: Fault,
}

enum Fault {
    Type,
    Value,
}

impl Wrong {
    /// It has the wrong type.
    pub(crate) fn type_of(sentence: String) -> Wrong {
        Wrong { place: String::new(), sentence, fault: Fault::Type }
    }

    /// It has the right type and the wrong value.
    pub(crate) fn value(sentence: String) -> Wrong {
        Wrong { place: String::new(), sentence, fault: Fault::Value }
    }

    /// The same, seen from further out.
    pub(crate) fn within(mut self, outer: &str) -> Wrong {
        self.place.insert_str(0, outer);
        self
    }
}

impl From<KeyLengthError> for Wrong {
    fn from(error: KeyLengthError) -> Wrong {
        Wrong::value(format!("has keys of the wrong length: {error}"))
    }
}
