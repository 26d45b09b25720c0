//! From the master key to the session keys: AES-CM as a pseudorandom function (RFC 3711 §4.3,
//! RFC 6188 §6 for 256 bits, RFC 7714 §11 for the shorter salt).

use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use aes::{Aes128Enc, Aes256Enc};
use ctr::{CtrCore, flavors};

use super::{KeyMaterial, cm};

/// Which of the two protocols the keys are for. The labels of RFC 3711 §4.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    Rtp,
    Rtcp,
}

impl Use {
    const fn first_label(self) -> u8 {
        match self {
            Use::Rtp => 0,
            Use::Rtcp => 3,
        }
    }
}

/// The session keys of one protocol. Each field is as long as the longest profile needs; a profile
/// takes what it needs from the front.
pub(super) struct SessionKeys {
    pub(super) key: [u8; 32],
    pub(super) auth: [u8; cm::AUTH_KEY],
    pub(super) salt: [u8; cm::SALT],
}

/// Derives the session keys. The key derivation rate is zero, so that this happens once.
pub(super) fn derive(master: &KeyMaterial, protocol: Use) -> SessionKeys {
    let label = protocol.first_label();
    let mut keys = SessionKeys { key: [0; 32], auth: [0; cm::AUTH_KEY], salt: [0; cm::SALT] };
    let key_len = master.key.len();
    if let Some(key) = keys.key.get_mut(..key_len) {
        fill(master, label, key);
    }
    fill(master, label + 1, &mut keys.auth);
    fill(master, label + 2, &mut keys.salt);
    keys
}

/// Fills `out` from the key stream of a label. The label stands over the eighth byte of the
/// 14-byte salt, a salt of 12 bytes is followed by zeros, the two last bytes count blocks.
fn fill(master: &KeyMaterial, label: u8, out: &mut [u8]) {
    let mut iv = [0u8; 16];
    for (byte, salt) in iv.iter_mut().zip(&master.salt) {
        *byte = *salt;
    }
    iv[7] ^= label;
    out.fill(0);
    if let Ok(key) = <[u8; 32]>::try_from(master.key.as_slice()) {
        apply(&Aes256Enc::new(&key.into()), iv, out);
    } else if let Ok(key) = <[u8; 16]>::try_from(master.key.as_slice()) {
        apply(&Aes128Enc::new(&key.into()), iv, out);
    }
}

fn apply<C>(cipher: &C, iv: [u8; 16], out: &mut [u8])
where
    C: aes::cipher::BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    let core = CtrCore::<&C, flavors::Ctr128BE>::inner_iv_init(cipher, &iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(out);
}
