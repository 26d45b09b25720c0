//! The shared port: every shard's sockets, the lock, and the sentence where one cannot be had.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::lock::{Held, PortLock};
use crate::udp::{self, Reach, Sharing, UdpSocket};

/// Why an engine did not start.
#[derive(Debug)]
pub struct StartError {
    /// The kernel's number for it.
    pub errno: Option<i32>,
    sentence: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for StartError {}

impl StartError {
    pub(crate) fn new(errno: i32, sentence: String) -> StartError {
        StartError { errno: Some(errno), sentence }
    }
}

/// Binds the addresses for each shard, all on one port, and takes the lock on it. No address, or
/// an unspecified one, is all; port 0 lets the kernel choose.
pub(crate) fn bind(
    addresses: &[IpAddr],
    port: u16,
    shards: u8,
) -> Result<(Vec<Vec<UdpSocket>>, PortLock), StartError> {
    let (first, lock) = bind_port(addresses, port)?;
    let mut all = vec![first];
    for _ in 1..shards {
        let first = all.first().into_iter().flatten();
        let sibling =
            |socket: &UdpSocket| socket.sibling().map_err(|error| refused(socket.bound(), &error));
        let siblings = first.map(sibling).collect::<Result<_, _>>()?;
        all.push(siblings);
    }
    Ok((all, lock))
}

/// The first shard's sockets and the lock on their port.
fn bind_port(addresses: &[IpAddr], port: u16) -> Result<(Vec<UdpSocket>, PortLock), StartError> {
    if port != 0 {
        let lock = PortLock::take(port).map_err(StartError::from)?;
        return Ok((bind_addresses(addresses, port)?, lock));
    }
    // A port that is free on the first address may be taken on the next one, or locked by an engine
    // that has just let it go.
    const ATTEMPTS: usize = 16;
    let mut attempt = 1;
    loop {
        let tried = bind_addresses(addresses, 0).and_then(|sockets| {
            let port = sockets.first().map_or(0, |socket| socket.bound().port());
            Ok((sockets, PortLock::take(port)?))
        });
        match tried {
            Err(error) if error.errno == Some(libc::EADDRINUSE) && attempt < ATTEMPTS => {
                attempt += 1;
            }
            done => return done,
        }
    }
}

fn bind_addresses(addresses: &[IpAddr], port: u16) -> Result<Vec<UdpSocket>, StartError> {
    let unspecified = |family: fn(&IpAddr) -> bool| {
        addresses.iter().any(|address| address.is_unspecified() && family(address))
    };
    if addresses.is_empty() || unspecified(IpAddr::is_ipv6) {
        return bind_all(port);
    }
    if unspecified(IpAddr::is_ipv4) {
        return Ok(vec![bind_one(udp::wildcards(port).1)?]);
    }
    let mut sockets: Vec<UdpSocket> = Vec::new();
    for address in addresses {
        let port = sockets.first().map_or(port, |socket| socket.bound().port());
        if sockets.iter().all(|socket| socket.bound().ip() != *address) {
            sockets.push(bind_one((*address, port).into())?);
        }
    }
    Ok(sockets)
}

/// One socket for both families, or two where IPv6 stands alone, or IPv4 where there is no IPv6.
fn bind_all(port: u16) -> Result<Vec<UdpSocket>, StartError> {
    let (v6, v4) = udp::wildcards(port);
    match UdpSocket::bind(v6, Sharing::First) {
        Ok(socket) if socket.reach() == Reach::Both => Ok(vec![socket]),
        Ok(socket) => {
            let beside = bind_one(udp::wildcards(socket.bound().port()).1)?;
            Ok(vec![socket, beside])
        }
        Err(error) if is_missing(&error) => Ok(vec![bind_one(v4)?]),
        Err(error) => Err(refused(v6, &error)),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn bind_one(address: SocketAddr) -> Result<UdpSocket, StartError> {
    UdpSocket::bind(address, Sharing::First).map_err(|error| refused(address, &error))
}

impl From<Held> for StartError {
    fn from(held: Held) -> StartError {
        StartError::new(libc::EADDRINUSE, held.to_string())
    }
}

fn refused(address: SocketAddr, error: &io::Error) -> StartError {
    let (ip, port) = (address.ip(), address.port());
    let sentence = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => format!("UDP port {port} on {ip} is in use by another program"),
        Some(libc::EADDRNOTAVAIL) => format!("{ip} is no address of this host"),
        Some(libc::EACCES) => format!("UDP port {port} on {ip} may not be bound by this user"),
        _ => format!("UDP port {port} on {ip} cannot be bound: {error}"),
    };
    StartError { errno: error.raw_os_error(), sentence }
}

/// The error of a call that has no address to name.
pub(crate) fn failed(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError {
        errno: error.raw_os_error(),
        sentence: format!("{what} failed: {error}"),
    }
}
