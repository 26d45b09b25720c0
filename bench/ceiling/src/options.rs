//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use pyforward_core::srtp::Profile;

use crate::trains::MAX_PAYLOAD;

/// RTP without CSRCs and extensions (RFC 3550 §5.1).
pub const HEADER: usize = 12;

const USAGE: &str = "\
pyforward-ceiling: packets per second of CPU of a bare sender (header, seal, train, send), or how
late its frames leave

  --suite gcm|gcm256|cm  AEAD_AES_128_GCM (default), AEAD_AES_256_GCM, AES128_CM_SHA1_80
  --viewers N            destinations, each with its own keys and address (1000)
  --seconds S            for each row in each round, or of the schedule (1)
  --rounds N             interleaved rounds (6)
  --core N               the core it is pinned to (0)
  --payload BYTES        of each packet, without header and tag (1188)
  --trains FILE          what is played instead: one train a line, the packets' payloads in bytes
                         with commas between them, all but the last equal, the last not larger
  --variants NAME,...    rows, in this order; an unknown name lists them
  --play FILE            no rows: each train when it is due; one a line, microseconds from the start,
                         a space, sizes as above, and a space and m where a frame ends
  --arena-kib N          what is sealed before it is sent, at most (256)
  --json                 one JSON object instead of the table
  --loopback             do not try for a namespace
  --here                 make and change no device: send from where it is started
  --to FILE              with --here: destinations, ADDRESS:PORT or [ADDRESS]:PORT a line
  --i-may-load-this-host with --here: also beyond loopback in the host's own network namespace";

/// Where the second process finds itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inside {
    /// In a network namespace of its own.
    Namespace,
    /// In the caller's: only loopback may be loaded.
    Loopback,
    /// In the caller's, who says whom to load.
    Here,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The protection profile.
    pub profile: Profile,
    /// How many destinations, if the rig has its own.
    pub viewers: u32,
    /// How long each row runs in each round.
    pub time: Duration,
    /// Rounds that count.
    pub rounds: usize,
    /// The core of the sender.
    pub core: usize,
    /// Bytes of payload of a packet, if no file says so.
    pub payload: usize,
    /// The file of trains.
    pub trains: Option<PathBuf>,
    /// The file of what is played in real time.
    pub play: Option<PathBuf>,
    /// The names of the rows.
    pub variants: Option<Vec<String>>,
    /// Bytes that are sealed before they are sent.
    pub arena: usize,
    /// JSON instead of the table.
    pub json: bool,
    /// No namespace is tried.
    pub loopback: bool,
    /// Nothing is made.
    pub here: bool,
    /// The file of destinations.
    pub to: Option<PathBuf>,
    /// The caller answers for the destinations.
    pub may_load: bool,
    /// Set by the outer process for the inner one.
    pub inside: Option<Inside>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            profile: Profile::AeadAes128Gcm,
            viewers: 1_000,
            time: Duration::from_secs(1),
            rounds: 6,
            core: 0,
            payload: 1_188,
            trains: None,
            play: None,
            variants: None,
            arena: 256 << 10,
            json: false,
            loopback: false,
            here: false,
            to: None,
            may_load: false,
            inside: None,
        }
    }
}

impl Options {
    /// Reads the arguments; the error is what to print.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut given = Vec::new();
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} wants a value"));
            match name.as_str() {
                "--suite" => options.profile = suite(&value()?)?,
                "--viewers" => options.viewers = number(&name, &value()?, 1, 65_000)?,
                "--seconds" => options.time = seconds(&value()?)?,
                "--rounds" => options.rounds = number(&name, &value()?, 1, 1_000)?,
                "--core" => options.core = number(&name, &value()?, 0, 4_095)?,
                "--payload" => options.payload = number(&name, &value()?, 1, MAX_PAYLOAD)?,
                "--trains" => options.trains = Some(value()?.into()),
                "--play" => options.play = Some(value()?.into()),
                "--variants" => {
                    options.variants = Some(value()?.split(',').map(str::to_owned).collect());
                }
                "--arena-kib" => options.arena = number(&name, &value()?, 1, 1 << 20)? << 10,
                "--json" => options.json = true,
                "--loopback" => options.loopback = true,
                "--here" => options.here = true,
                "--to" => options.to = Some(value()?.into()),
                "--i-may-load-this-host" => options.may_load = true,
                "--inside" => options.inside = Some(inside(&value()?)?),
                "--help" | "-h" => return Err(USAGE.to_owned()),
                _ => return Err(format!("unknown option {name}\n\n{USAGE}")),
            }
            given.push(name);
        }
        contradiction(&given).map_or(Ok(options), Err)
    }

    /// Bytes that header and tag add to a payload.
    pub fn overhead(&self) -> usize {
        HEADER + self.profile.rtp_overhead()
    }
}

/// Options that say two things, or half of one.
fn contradiction(given: &[String]) -> Option<String> {
    let has = |name: &str| given.iter().any(|given| given == name);
    EXCLUSIVE
        .into_iter()
        .find(|(one, other)| has(one) && has(other))
        .map(|(one, other)| format!("{one} and {other} contradict each other"))
        .or_else(|| {
            TOGETHER
                .into_iter()
                .find(|(one, other)| has(one) && !has(other))
                .map(|(one, other)| format!("{one} wants {other} as well"))
        })
}

/// Each alone.
const EXCLUSIVE: [(&str, &str); 7] = [
    ("--trains", "--payload"),
    ("--to", "--viewers"),
    ("--here", "--loopback"),
    ("--play", "--trains"),
    ("--play", "--payload"),
    ("--play", "--variants"),
    ("--play", "--rounds"),
];

/// The first only with the second.
const TOGETHER: [(&str, &str); 3] =
    [("--here", "--to"), ("--to", "--here"), ("--i-may-load-this-host", "--here")];

fn suite(text: &str) -> Result<Profile, String> {
    match text {
        "gcm" => Ok(Profile::AeadAes128Gcm),
        "gcm256" => Ok(Profile::AeadAes256Gcm),
        "cm" => Ok(Profile::Aes128CmSha1_80),
        _ => Err(format!("--suite is gcm, gcm256 or cm, not {text}")),
    }
}

fn inside(text: &str) -> Result<Inside, String> {
    match text {
        "namespace" => Ok(Inside::Namespace),
        "loopback" => Ok(Inside::Loopback),
        "here" => Ok(Inside::Here),
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
    fn options_are_read() {
        let options = parse("--suite cm --viewers 10 --seconds 0.5 --rounds 2 --json").unwrap();
        assert_eq!((options.profile, options.viewers), (Profile::Aes128CmSha1_80, 10));
        assert_eq!((options.time, options.rounds), (Duration::from_millis(500), 2));
        assert_eq!(options.overhead(), 12 + 10);
        assert_eq!(parse("--suite gcm256").unwrap().profile, Profile::AeadAes256Gcm);

        let options = parse("--here --to a --trains b --variants singles,trains-of-8").unwrap();
        assert!(options.here && !options.may_load);
        assert_eq!((options.to.unwrap(), options.trains.unwrap()), ("a".into(), "b".into()));
        assert_eq!(options.variants.unwrap(), ["singles", "trains-of-8"]);
    }

    #[test]
    fn wrong_options_are_named() {
        for (line, part) in [
            ("--suite des", "gcm256 or cm"),
            ("--viewers 0", "--viewers is a number from 1"),
            ("--seconds nan", "--seconds"),
            ("--rounds", "--rounds wants a value"),
            ("--frobnicate", "unknown option --frobnicate"),
            ("--trains a --payload 9", "--trains and --payload contradict"),
            ("--here --to a --viewers 9", "--to and --viewers contradict"),
            ("--play a --trains b", "--play and --trains contradict"),
            ("--play a --rounds 2", "--play and --rounds contradict"),
            ("--here --to a --loopback", "--here and --loopback contradict"),
            ("--here", "--here wants --to"),
            ("--to a", "--to wants --here"),
            ("--i-may-load-this-host", "wants --here"),
        ] {
            assert!(parse(line).unwrap_err().contains(part), "{line}");
        }
    }
}
