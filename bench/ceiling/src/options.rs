//! The command line.

use std::time::Duration;

use pyforward_core::srtp::Profile;

const USAGE: &str = "\
pyforward-ceiling: packets per second of CPU of a bare sender (header, seal, train, send)

  --suite gcm|cm     AEAD_AES_128_GCM (default) or AES128_CM_SHA1_80
  --viewers N        destinations, each with its own keys and address (1000)
  --seconds S        for each row in each round (1)
  --rounds N         interleaved rounds (6)
  --core N           the core it is pinned to (0)
  --payload BYTES    of each packet, without header and tag (1188)
  --arena-kib N      what is sealed before it is sent, at most (256)
  --json             one JSON object instead of the table
  --loopback         do not try for a namespace";

/// Where the second process finds itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inside {
    /// In a network namespace of its own.
    Namespace,
    /// In the caller's: only loopback may be loaded.
    Loopback,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The protection profile.
    pub profile: Profile,
    /// How many destinations.
    pub viewers: u32,
    /// How long each row runs in each round.
    pub time: Duration,
    /// Rounds that count.
    pub rounds: usize,
    /// The core of the sender.
    pub core: usize,
    /// Bytes of payload of a packet.
    pub payload: usize,
    /// Bytes that are sealed before they are sent.
    pub arena: usize,
    /// JSON instead of the table.
    pub json: bool,
    /// No namespace is tried.
    pub loopback: bool,
    /// Set by the outer process for the inner one.
    pub inside: Option<Inside>,
}

impl Options {
    /// Reads the arguments; the error is what to print.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            profile: Profile::AeadAes128Gcm,
            viewers: 1_000,
            time: Duration::from_secs(1),
            rounds: 6,
            core: 0,
            payload: 1_188,
            arena: 256 << 10,
            json: false,
            loopback: false,
            inside: None,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} wants a value"));
            match name.as_str() {
                "--suite" => options.profile = suite(&value()?)?,
                "--viewers" => options.viewers = number(&name, &value()?, 1, 65_000)?,
                "--seconds" => options.time = seconds(&value()?)?,
                "--rounds" => options.rounds = number(&name, &value()?, 1, 1_000)?,
                "--core" => options.core = number(&name, &value()?, 0, 4_095)?,
                "--payload" => options.payload = number(&name, &value()?, 1, 1_400)?,
                "--arena-kib" => options.arena = number(&name, &value()?, 1, 1 << 20)? << 10,
                "--json" => options.json = true,
                "--loopback" => options.loopback = true,
                "--inside" => options.inside = Some(inside(&value()?)?),
                "--help" | "-h" => return Err(USAGE.to_owned()),
                _ => return Err(format!("unknown option {name}\n\n{USAGE}")),
            }
        }
        Ok(options)
    }

    /// Bytes of a packet on the wire, without UDP and IP.
    pub fn packet_len(&self) -> usize {
        12 + self.payload + self.profile.rtp_overhead()
    }
}

fn suite(text: &str) -> Result<Profile, String> {
    match text {
        "gcm" => Ok(Profile::AeadAes128Gcm),
        "cm" => Ok(Profile::Aes128CmSha1_80),
        _ => Err(format!("--suite is gcm or cm, not {text}")),
    }
}

fn inside(text: &str) -> Result<Inside, String> {
    match text {
        "namespace" => Ok(Inside::Namespace),
        "loopback" => Ok(Inside::Loopback),
        _ => Err(format!("--inside is not for you, and not {text}")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.01..=3_600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("--seconds is a number from 0.01 to 3600, not {text}"))
}

fn number<T>(name: &str, text: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| *number >= least && *number <= most)
        .ok_or_else(|| format!("{name} is a number from {least} to {most}, not {text}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        let options = parse("--suite cm --viewers 10 --seconds 0.5 --rounds 2 --json").unwrap();
        assert_eq!((options.profile, options.viewers), (Profile::Aes128CmSha1_80, 10));
        assert_eq!((options.time, options.rounds), (Duration::from_millis(500), 2));
        assert_eq!(options.packet_len(), 12 + 1_188 + 10);
        for (line, part) in [
            ("--suite des", "gcm or cm"),
            ("--viewers 0", "--viewers is a number from 1"),
            ("--seconds nan", "--seconds"),
            ("--rounds", "--rounds wants a value"),
            ("--frobnicate", "unknown option --frobnicate"),
        ] {
            assert!(parse(line).unwrap_err().contains(part), "{line}");
        }
    }
}
