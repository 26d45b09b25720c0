//! Where a caller wants the load, and whether it may go there.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;

/// Most destinations, each with its keys; as many as ports of one address.
pub const MAX: usize = 65_000;

/// Reads one `address:port` a line, IPv6 in brackets. Those of one family come together, IPv4
/// first, since each family has its own socket. Errors name the line.
pub fn parse(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut seen = HashSet::new();
    let mut addresses = Vec::new();
    for (at, line) in text.lines().take(MAX + 1).enumerate() {
        let address = line
            .trim()
            .parse()
            .map_err(|_| format!("not ADDRESS:PORT or [ADDRESS]:PORT: {:?}", line.trim()))
            .and_then(|address: SocketAddr| match address {
                _ if address.port() == 0 || address.ip().is_unspecified() => {
                    Err(format!("nobody can be reached at {address}"))
                }
                _ if !seen.insert(address) => Err(format!("{address} stands there twice")),
                _ => Ok(address),
            })
            .map_err(|error| format!("line {}: {error}", at + 1))?;
        addresses.push(address);
    }
    addresses.sort_by_key(SocketAddr::is_ipv6);
    match addresses.len() {
        0 => Err("no destination in it".to_owned()),
        1..=MAX => Ok(addresses),
        _ => Err(format!("more than {MAX} destinations")),
    }
}

/// A load of this size goes to loopback or stays in a network namespace that is not the host's,
/// unless the caller answers for it.
pub fn permit(addresses: &[SocketAddr], answered_for: bool) -> Result<(), String> {
    let Some(outside) = addresses.iter().find(|address| !address.ip().is_loopback()) else {
        return Ok(());
    };
    if answered_for || in_own_namespace() {
        return Ok(());
    }
    Err(format!(
        "{outside} is not loopback, and this network namespace is the host's, or may be: \
         --i-may-load-this-host says that you may"
    ))
}

/// Whether this process has another network namespace than one of those that it descends from, which
/// then made or chose it. Whoever may not look is taken to be in the host's.
fn in_own_namespace() -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let Some(own) = namespace("self") else { return false };
    let ancestors = std::iter::successors(parent("self"), |process| parent(process));
    ancestors.filter_map(|process| namespace(&process)).any(|theirs| theirs != own)
}

fn parent(process: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    Some(parent.to_owned()).filter(|parent| parent != "0")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn families_come_together_and_keep_their_order() {
        let read = parse("127.0.0.2:9\n[::1]:7\n127.0.0.1:40000\n[2001:db8::1]:9\n").unwrap();
        let read: Vec<String> = read.iter().map(SocketAddr::to_string).collect();
        assert_eq!(read, ["127.0.0.2:9", "127.0.0.1:40000", "[::1]:7", "[2001:db8::1]:9"]);
    }

    #[test]
    fn what_is_no_destination_is_told_with_its_line() {
        for (text, part) in [
            ("", "no destination"),
            ("127.0.0.1:9\nlocalhost:9", "line 2: not ADDRESS:PORT"),
            ("::1:9", "line 1"),
            ("127.0.0.1:9\n\n", "line 2"),
            ("127.0.0.1:0", "nobody"),
            ("0.0.0.0:9", "nobody"),
            ("127.0.0.1:9\n127.0.0.1:9", "line 2: 127.0.0.1:9 stands there twice"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let many: String = (0..=MAX).map(|n| format!("127.1.{}.{}:9\n", n >> 8, n & 255)).collect();
        assert!(parse(&many).unwrap_err().contains("more than"));
    }

    #[test]
    fn loopback_is_always_permitted_and_an_answer_permits_the_rest() {
        let loopback = parse("127.9.9.9:9\n[::1]:9").unwrap();
        assert_eq!(permit(&loopback, false), Ok(()));
        assert_eq!(permit(&parse("192.0.2.1:9").unwrap(), true), Ok(()));
    }
}
