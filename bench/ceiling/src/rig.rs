//! Where the load goes: over a veth pair into a namespace that drops it, or to loopback.
//!
//! Nothing is made that has a name outside. The sender's namespace lives as long as the sender; the
//! other one as long as a process that waits for the sender's end. So whatever ends them, nothing
//! is left, and nothing of the host's network is touched.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::options::{Inside, Options};

const NEAR: &str = "ceil0";
const FAR: &str = "ceil1";
const FAR_MAC: &str = "02:00:00:00:00:02";
const NEAR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 111, 0, 1);
const FAR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 111, 0, 2);
/// Viewers have an address each, behind the far end as behind a router.
const VIEWERS: Ipv4Addr = Ipv4Addr::new(10, 112, 0, 0);
const VIEWERS_PREFIX: u8 = 14;
const VIEWERS_PORT: u16 = 40_000;

/// Runs this program again, pinned, in a namespace of its own if that is permitted.
pub fn enter(options: &Options) -> Result<ExitCode, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    // As root, or as root of a user namespace of its own.
    let unshare =
        [vec!["unshare", "--net", "--"], vec!["unshare", "--map-root-user", "--net", "--"]];
    let stay = options.loopback || options.here;
    let permitted = unshare.into_iter().find(|way| !stay && works(way));
    let inside = match permitted {
        Some(_) => "namespace",
        None if options.here => "here",
        None => "loopback",
    };
    let core = options.core.to_string();
    let pin = vec!["taskset", "--cpu-list", &core];
    if !works(&pin) {
        return Err(format!("cannot pin to core {core}: taskset (util-linux) failed"));
    }
    let mut words = [pin, permitted.unwrap_or_default()].concat().into_iter();
    let status = Command::new(words.next().unwrap_or_default())
        .args(words)
        .arg(program)
        .args(std::env::args_os().skip(1))
        .args(["--inside", inside])
        .status()
        .map_err(|error| error.to_string())?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Whether a command that runs another one may do so.
fn works(words: &[&str]) -> bool {
    let [program, arguments @ ..] = words else {
        return false;
    };
    Command::new(program)
        .args(arguments)
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The way that the load takes.
pub enum Rig {
    /// A veth pair; the far end is in another namespace and drops everything.
    Veth {
        /// Keeps the far namespace; ends when its input does.
        far: Child,
        /// Whether a counter drops at the device, or the far end's missing route does.
        counted: bool,
    },
    /// Loopback, to a socket that nobody reads.
    Loopback {
        /// Receives, until its buffer is full.
        sink: UdpSocket,
    },
    /// The caller's: devices, destinations and whoever counts.
    Here,
}

impl Rig {
    /// Builds it.
    pub fn build(inside: Inside) -> Result<Rig, String> {
        match inside {
            Inside::Namespace => veth(),
            Inside::Loopback => {
                let sink = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
                Ok(Rig::Loopback { sink: sink.map_err(|error| error.to_string())? })
            }
            Inside::Here => Ok(Rig::Here),
        }
    }

    /// What the sender binds to reach a destination.
    pub fn local(&self, remote: SocketAddr) -> Result<IpAddr, String> {
        match self {
            Rig::Veth { .. } => Ok(NEAR_ADDRESS.into()),
            Rig::Loopback { .. } => Ok(Ipv4Addr::LOCALHOST.into()),
            Rig::Here => source(remote).map_err(|error| format!("no way to {remote}: {error}")),
        }
    }

    /// The address of a viewer, unless the caller has them: each has its own.
    pub fn viewer(&self, number: u32) -> SocketAddr {
        match self {
            Rig::Veth { .. } => {
                let address = Ipv4Addr::from(u32::from(VIEWERS) + number + 1);
                (address, VIEWERS_PORT).into()
            }
            Rig::Loopback { sink } => {
                let port = sink.local_addr().map_or(0, |address| address.port());
                (Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + 0x100 + number), port).into()
            }
            Rig::Here => (Ipv4Addr::LOCALHOST, VIEWERS_PORT).into(),
        }
    }

    /// Whether there is a device whose offload can be chosen.
    pub fn can_offload(&self) -> bool {
        matches!(self, Rig::Veth { .. })
    }

    /// Lets trains through whole, as to a NIC that segments, or has the kernel segment them.
    pub fn set_offload(&self, offload: bool) -> Result<(), String> {
        match self {
            Rig::Veth { .. } => {
                let segments = if offload { "65535" } else { "1" };
                ip(&format!("link set dev {NEAR} gso_max_segs {segments}"))
            }
            Rig::Loopback { .. } | Rig::Here => Ok(()),
        }
    }

    /// Messages that reached the far end so far, if somebody counts: datagrams, and whole trains
    /// where they are not segmented.
    pub fn arrived(&self) -> Option<u64> {
        let Rig::Veth { far, counted: true } = self else {
            return None;
        };
        let listed = output(&in_far(far.id(), "nft list chain netdev ceiling sink")).ok()?;
        let mut words = listed.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1)?.parse().ok()
    }

    /// In words, for the report.
    pub fn describe(&self) -> &'static str {
        match self {
            Rig::Veth { counted: true, .. } => {
                "veth into a namespace that drops at ingress; the kernel segments trains, the \
                 peer's half runs on the sender's core and is inside the figure"
            }
            Rig::Veth { counted: false, .. } => {
                "veth into a namespace that has no route (no nft to drop earlier); the kernel \
                 segments trains, the peer's half is inside the figure"
            }
            Rig::Loopback { .. } => {
                "loopback (a namespace was not permitted or not wanted) to a socket that nobody reads: not comparable \
                 with figures over veth"
            }
            Rig::Here => "the caller's destinations by the caller's devices; the caller counts",
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Rig::Veth { far, .. } = self {
            drop(far.stdin.take());
            let _ = far.wait();
        }
    }
}

/// The address from which the route to a destination leaves. Bound to it, a socket costs the kernel
/// less than one that is bound to all.
fn source(remote: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    socket.local_addr().map(|address| address.ip())
}

fn veth() -> Result<Rig, String> {
    let far = Command::new("unshare")
        .args(["--net", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("unshare: {error}"))?;
    let pid = far.id();
    let mut rig = Rig::Veth { far, counted: false };
    wait_for_namespace(pid)?;
    ip("link set dev lo up")?;
    ip(&format!("link add {NEAR} type veth peer name {FAR} address {FAR_MAC} netns {pid}"))?;
    ip(&format!("address add {NEAR_ADDRESS}/30 dev {NEAR}"))?;
    ip(&format!("link set dev {NEAR} up"))?;
    run(&in_far(pid, &format!("ip link set dev {FAR} up")))?;
    ip(&format!("neighbour add {FAR_ADDRESS} lladdr {FAR_MAC} dev {NEAR} nud permanent"))?;
    ip(&format!("route add {VIEWERS}/{VIEWERS_PREFIX} via {FAR_ADDRESS}"))?;
    let drop = format!(
        "nft add table netdev ceiling; add chain netdev ceiling sink {{ type filter hook ingress \
         device {FAR} priority 0; }}; add rule netdev ceiling sink counter drop"
    );
    if let (Rig::Veth { counted, .. }, Ok(())) = (&mut rig, run(&in_far(pid, &drop))) {
        *counted = true;
    }
    Ok(rig)
}

/// The process has its namespace some time after it was started.
fn wait_for_namespace(pid: u32) -> Result<(), String> {
    let own = fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string())?;
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        if fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|theirs| theirs != own) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err("the far namespace did not come up".to_owned())
}

fn ip(arguments: &str) -> Result<(), String> {
    run(&format!("ip {arguments}"))
}

fn in_far(pid: u32, command: &str) -> String {
    format!("nsenter --net --target {pid} -- {command}")
}

fn run(command: &str) -> Result<(), String> {
    output(command).map(|_| ())
}

/// Words are split at spaces; nothing here needs quoting.
fn output(command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
