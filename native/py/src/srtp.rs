//! `_native.Srtp`: the engine's SRTP by itself, for the tests that hold it against another
//! implementation. No packet of a stream ever passes here.

use std::sync::{Mutex, PoisonError};

use pyforward_core::discard::Discard;
use pyforward_core::rtp::View;
use pyforward_core::srtp::{KeyMaterial, Limits, Opener, Profile, Sealer};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{Error, Wrong};

/// Most SSRCs that it opens.
const MAX_SSRCS: usize = 32;

/// Seals and opens under one master key.
#[pyclass(frozen, module = "pyforward._native")]
pub(crate) struct Srtp {
    profile: Profile,
    state: Mutex<(Sealer, Opener)>,
}

#[pymethods]
impl Srtp {
    #[new]
    #[pyo3(signature = (profile, key, salt, window))]
    fn new(profile: &str, key: &[u8], salt: &[u8], window: usize) -> Result<Srtp, Error> {
        let profile = Profile::from_name(profile).ok_or_else(|| {
            Wrong::value(format!("'{profile}' is no SRTP profile")).within("profile:")
        })?;
        let master =
            KeyMaterial::new(profile, key, salt).map_err(|e| Wrong::from(e).within("Srtp"))?;
        let opener = Opener::new(profile, &master, Limits { max_ssrcs: MAX_SSRCS, window });
        Ok(Srtp { profile, state: Mutex::new((Sealer::new(profile, &master), opener)) })
    }

    /// Seals an RTP packet as the packet of this index (`ROC << 16 | SEQ`).
    fn protect<'py>(
        &self,
        py: Python<'py>,
        index: u64,
        packet: &[u8],
    ) -> Result<Bound<'py, PyBytes>, Error> {
        let view = View::parse(packet)?;
        if index as u16 != view.sequence || index >> 48 != 0 {
            let sentence = format!("{index} is not of sequence number {}", view.sequence);
            return Err(Wrong::value(sentence).within("index").into());
        }
        let mut sealed = packet.to_vec();
        sealed.resize(packet.len() + self.profile.rtp_overhead(), 0);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let len = state.0.seal_rtp(index, &mut sealed, view.header_len, packet.len());
        sealed.truncate(len);
        Ok(PyBytes::new(py, &sealed))
    }

    /// Opens an RTP packet: its index and the plain packet.
    fn unprotect<'py>(
        &self,
        py: Python<'py>,
        packet: &[u8],
    ) -> Result<(u64, Bound<'py, PyBytes>), Error> {
        let view = View::parse(packet)?;
        let mut opened = packet.to_vec();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let told = state.1.open_rtp(&mut opened, view.header_len, view.ssrc, view.sequence)?;
        opened.truncate(told.len);
        Ok((told.index, PyBytes::new(py, &opened)))
    }

    /// Seals an RTCP compound under the next index.
    fn protect_rtcp<'py>(
        &self,
        py: Python<'py>,
        packet: &[u8],
    ) -> Result<Bound<'py, PyBytes>, Error> {
        let mut sealed = packet.to_vec();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.seal_rtcp(&mut sealed);
        if sealed.is_empty() {
            Err(Discard::RtcpMalformed.into())
        } else {
            Ok(PyBytes::new(py, &sealed))
        }
    }

    /// Opens an RTCP compound.
    fn unprotect_rtcp<'py>(
        &self,
        py: Python<'py>,
        packet: &[u8],
    ) -> Result<Bound<'py, PyBytes>, Error> {
        let mut opened = packet.to_vec();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let len = state.1.open_rtcp(&mut opened)?;
        opened.truncate(len);
        Ok(PyBytes::new(py, &opened))
    }
}
