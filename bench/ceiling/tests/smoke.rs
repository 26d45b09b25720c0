//! The program runs, sends what it says, and leaves nothing behind. No figure is judged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pyforward-ceiling"))
        .args(["--viewers", "5", "--rounds", "1", "--seconds", "0.01", "--json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn number(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn over_loopback_it_says_so() {
    for suite in ["gcm", "cm"] {
        let json = run(&["--suite", suite, "--loopback"]);
        assert!(json.contains("\"rig\":\"loopback"), "{json}");
        assert!(json.contains("\"name\":\"trains of 16\""), "{json}");
        assert!(!json.contains("\"packets_per_cpu_second\":0"), "{json}");
    }
}

/// Where a namespace is permitted, all that was sent is counted at the far end.
#[test]
fn what_is_sent_arrives() {
    let json = run(&[]);
    let Some(arrived) = number(&json, "arrived") else {
        assert!(json.contains("loopback") || json.contains("no nft"), "{json}");
        return;
    };
    let sent = number(&json, "sent").unwrap();
    // The far end also sees what the kernel says on its own when a link comes up.
    assert!((sent..sent + 50).contains(&arrived), "{sent} sent, {arrived} arrived");
}
