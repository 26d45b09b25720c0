//! What callgrind wrote, added up without the ciphers.

/// Instructions of a profile whose names and positions are not compressed.
///
/// A line of costs belongs to the function named before it; behind a `calls=` line it is what that
/// call cost altogether. So everything is added up, and what our calls of ring cost is taken off
/// again: how ring does it is the processor's choice and not ours.
pub fn instructions(profile: &str) -> Option<u64> {
    let (mut function, mut called, mut is_call) = ("", "", false);
    let (mut all, mut ciphers) = (0_u64, 0_u64);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit()) && !function.is_empty() {
            let cost: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            if !is_call {
                all += cost;
            } else if is_cipher(called) && !is_cipher(function) {
                ciphers += cost;
            }
            is_call = false;
        }
    }
    all.checked_sub(ciphers).filter(|instructions| *instructions > 0)
}

fn is_cipher(function: &str) -> bool {
    ["ring::", "<ring::", "ring_core_"].iter().any(|prefix| function.starts_with(prefix))
}
