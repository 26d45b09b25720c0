//! The program runs, sends what it says, and leaves nothing behind. No figure is judged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pyforward-ceiling")).args(arguments).output().unwrap()
}

/// One short round of rows.
fn ceiling(arguments: &[&str]) -> Output {
    program(&[&["--rounds", "1", "--seconds", "0.01", "--json"], arguments].concat())
}

fn play(schedule: &str, seconds: &str, arguments: &[&str]) -> Output {
    program(&[&["--play", schedule, "--seconds", seconds, "--json"], arguments].concat())
}

fn run(arguments: &[&str]) -> String {
    told(&ceiling(arguments))
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = ceiling(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn number(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn seconds(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

/// A file of this test alone.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn over_loopback_it_says_so() {
    for suite in ["gcm", "gcm256", "cm"] {
        let json = run(&["--suite", suite, "--loopback", "--viewers", "5"]);
        assert!(json.contains("\"rig\":\"loopback"), "{json}");
        assert!(json.contains("\"name\":\"trains of 16\""), "{json}");
        assert!(json.contains("\"viewers\":\"5\""), "{json}");
        assert!(!json.contains("\"packets_per_cpu_second\":0"), "{json}");
    }
}

/// Where a namespace is permitted, all that was sent is counted at the far end.
#[test]
fn what_is_sent_arrives() {
    let json = run(&["--viewers", "5"]);
    let Some(arrived) = number(&json, "arrived") else {
        assert!(json.contains("loopback") || json.contains("no nft"), "{json}");
        return;
    };
    let sent = number(&json, "sent").unwrap();
    // The far end also sees what the kernel says on its own when a link comes up.
    assert!((sent..sent + 50).contains(&arrived), "{sent} sent, {arrived} arrived");
}

/// What is waiting at a socket: how often each packet length came. Each must look like RTP.
fn waiting(socket: &UdpSocket) -> BTreeMap<usize, usize> {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut lens = BTreeMap::new();
    let mut buffer = [0; 2_048];
    while let Ok(len) = socket.recv(&mut buffer) {
        assert_eq!((buffer[0] >> 6, buffer[1] & 0x7f), (2, 96), "version 2, payload type 96");
        *lens.entry(len).or_default() += 1;
    }
    lens
}

#[test]
fn here_the_callers_trains_reach_the_callers_destinations() {
    let bind = |address: &str| UdpSocket::bind(address).ok();
    // IPv6 is not everywhere; IPv4 is.
    let sockets: Vec<UdpSocket> =
        ["[::1]:0", "127.0.0.1:0", "127.0.0.2:0"].into_iter().filter_map(bind).collect();
    let addresses: Vec<SocketAddr> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
    let lines: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let to = file("here.to", &lines.join("\n"));
    let trains = file("here.trains", "300,300,120\n80\n");
    let json = run(&["--here", "--to", to.to_str().unwrap(), "--trains", trains.to_str().unwrap()]);

    assert!(json.contains("the caller counts"), "{json}");
    assert!(json.contains(&format!("\"viewers\":\"{}\"", sockets.len())), "{json}");
    assert!(json.contains("\"arrived\":null"), "{json}");
    for row in ["singles", "sendmmsg", "trains", "trains of 8"] {
        assert!(json.contains(&format!("\"name\":\"{row}\"")), "{row}: {json}");
    }
    for name in ["packets", "bytes", "messages", "calls"] {
        assert!(number(&json, name).unwrap() > 0, "{name}: {json}");
    }
    for socket in &sockets {
        // As many as its buffer holds: the file's lengths, and the mean one of trains of 8.
        let lens = waiting(socket);
        for payload in [300, 120, 80] {
            assert!(lens.contains_key(&(12 + payload + 16)), "{payload}: {lens:?}");
        }
        assert!(lens.keys().all(|len| [328, 148, 108, 228].contains(len)), "{lens:?}");
    }
}

#[test]
fn bad_files_are_told_before_anything_is_sent() {
    let good = file("good.to", "127.0.0.1:9\n");
    let good = good.to_str().unwrap();
    let bad = file("bad.to", "127.0.0.1:9\nlocalhost:9\n");
    let trains = file("bad.trains", "1000,1001\n");
    let elsewhere = file("missing", "");
    fs::remove_file(&elsewhere).unwrap();
    assert!(refused(&["--here", "--to", bad.to_str().unwrap()]).contains("bad.to: line 2: "));
    let error = refused(&["--here", "--to", good, "--trains", trains.to_str().unwrap()]);
    assert!(error.contains("bad.trains: line 1: "), "{error}");
    assert!(refused(&["--here", "--to", elsewhere.to_str().unwrap()]).contains("No such file"));
    assert!(refused(&["--variants", "singles,trains"]).contains("wants --trains FILE"));
    let late = file("late", "9 100\n8 100 m\n");
    let output = play(late.to_str().unwrap(), "1", &[]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("late: line 2: earlier"), "{error}");
}

#[test]
fn a_schedule_is_played_at_its_time() {
    let sockets = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| UdpSocket::bind(address).unwrap());
    let lines = sockets.each_ref().map(|socket| socket.local_addr().unwrap().to_string());
    let to = file("played.to", &lines.join("\n"));
    let schedule = file("played", "0 300,300,120\n20000 80 m\n400000 200 m\n420000 50\n");
    let output = play(schedule.to_str().unwrap(), "60", &["--here", "--to", to.to_str().unwrap()]);
    let json = told(&output);

    for (name, value) in [("packets", 12), ("lost", 0), ("frames", 2), ("count", 4)] {
        assert_eq!(number(&json, name), Some(value), "{name}: {json}");
    }
    let took = seconds(&json, "took_s");
    assert!((0.42..59.0).contains(&took), "when all is due, and no longer: {json}");
    assert!(
        number(&json, "p99").unwrap() < 400_000,
        "a frame's time is from its own moment: {json}"
    );
    for socket in &sockets {
        // The first train is sent once before, as a warm-up.
        let lens = waiting(socket);
        let expected = [(328, 4), (148, 2), (108, 1), (228, 1), (78, 1)];
        assert_eq!(lens, expected.into_iter().collect(), "{json}");
    }
}

#[test]
fn what_is_due_after_the_time_is_not_played() {
    let schedule = file("long", "0 300 m\n3600000000 300 m\n");
    let json = told(&play(schedule.to_str().unwrap(), "0.1", &["--loopback", "--viewers", "3"]));
    assert_eq!((number(&json, "frames"), number(&json, "packets")), (Some(1), Some(3)), "{json}");
}

/// A second's work that is due at once, in a tenth of it.
#[test]
fn who_cannot_keep_up_goes_on_and_is_late() {
    let train = ["1000"; 16].join(",");
    let schedule = file("much", &format!("0 {train} m\n").repeat(10_000));
    let json = told(&play(schedule.to_str().unwrap(), "0.1", &["--loopback", "--viewers", "100"]));
    let frames = number(&json, "frames").unwrap();
    assert!((1..10_000).contains(&frames), "{json}");
    assert_eq!(number(&json, "count"), Some(100 * frames), "{json}");
    assert!(number(&json, "behind_us").unwrap() >= 100_000, "{json}");
    assert!(number(&json, "most").unwrap() >= 90_000, "as late as all before it took: {json}");
}

/// Tests that run in a namespace of their own have nothing to be refused.
#[test]
fn the_hosts_namespace_is_loaded_over_loopback_alone() {
    let to = file("outside.to", "192.0.2.1:9\n");
    let output = ceiling(&["--here", "--to", to.to_str().unwrap(), "--variants", "singles"]);
    let error = String::from_utf8(output.stderr).unwrap();
    let refused = error.contains("192.0.2.1:9 is not loopback");
    assert!(refused || error.contains("no way to 192.0.2.1:9"), "{error}");
}
