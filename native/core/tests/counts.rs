//! How instruction counts are added up and judged. The counting itself is `benches/counts`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../benches/counts/baseline.rs"]
mod baseline;
#[path = "../benches/counts/profile.rs"]
mod profile;

use baseline::{Baseline, Verdict, judge};

/// As callgrind 3.19 writes it, shortened: `measured` calls `forward`, which calls a cipher and a
/// copy; the cipher copies as well and has a part whose name does not say that it is one.
const PROFILE: &str = "\
# callgrind format
version: 1
positions: line
events: Ir
summary: 1190

ob=/tmp/counts
fl=main.rs
fn=counts::measured
0 5
cfn=pyforward_core::forward
calls=1 0
0 1185

fn=pyforward_core::forward
0 30
fi=string.rs
0 15
fe=lib.rs
cob=/tmp/counts
cfn=ring::aead::seal
calls=8 0
0 1120
cfn=memcpy
calls=8 0
0 20

fn=ring::aead::seal
0 100
cfn=ring_core_1__encrypt
calls=8 0
0 1000
cfn=memcpy
calls=8 0
0 20

fn=ring_core_1__encrypt
0 200
cfn=_aes_6x
calls=8 0
0 800

fn=_aes_6x
0 800

fn=memcpy
0 40

totals: 1190
";

#[test]
fn ciphers_are_taken_off_with_all_that_they_call() {
    assert_eq!(profile::instructions(PROFILE), Some(5 + 30 + 15 + 20));
    assert_eq!(profile::instructions("version: 1\nevents: Ir\ntotals: 0\n"), None);
    assert_eq!(profile::instructions(""), None);
}

#[test]
fn a_name_that_only_ends_like_the_ciphers_is_ours() {
    let ours = PROFILE.replace("ring::aead::seal", "alloc::string::String::push");
    assert_eq!(profile::instructions(&ours), Some(1_190 - 1_000));
}

const BASELINE: &str = "\
# What this is.

[rustc 1.95.0, glibc 2.36]
seal = 100
fan_out/10 = 2000

[rustc 1.96.0, glibc 2.36]
seal = 90
";

#[test]
fn a_baseline_comes_back_as_it_was_written() {
    let mut baseline = Baseline::parse(BASELINE).unwrap();
    assert_eq!(baseline.to_string(), BASELINE);
    baseline.set("rustc 1.96.0, glibc 2.36", vec![("seal".to_owned(), 91)]);
    baseline.set("rustc 2.0.0, musl", vec![("open".to_owned(), 7)]);
    assert_eq!(
        baseline.to_string(),
        BASELINE.replace("= 90", "= 91") + "\n[rustc 2.0.0, musl]\nopen = 7\n"
    );
    assert!(Baseline::parse("[a]\nseal: 3\n").unwrap_err().contains("line 2"));
}

#[test]
fn three_percent_either_way_hold_and_more_does_not() {
    let baseline = Baseline::parse(BASELINE).unwrap();
    let agreed = baseline.of("rustc 1.95.0, glibc 2.36").unwrap();
    assert_eq!(judge(agreed, "fan_out/10", 2_060), Verdict::Holds);
    assert_eq!(judge(agreed, "fan_out/10", 1_940), Verdict::Holds);
    assert_eq!(judge(agreed, "fan_out/10", 2_080), Verdict::More(0.04));
    assert_eq!(judge(agreed, "fan_out/10", 1_900), Verdict::Less(0.05));
    assert_eq!(judge(agreed, "open", 7), Verdict::Unknown);
    assert_eq!(baseline.of("rustc 1.97.0, glibc 2.36"), None);
}
