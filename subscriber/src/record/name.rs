//! File names made of names from the network, which never become paths.

/// Most characters of one part.
const PART_MAX: usize = 48;

/// The name of a recording's file: `PARTICIPANT-TRACK-NUMBER.EXTENSION`, letters, digits, `_`, `-` and `=` only.
pub(super) fn file_name(participant: &str, track: &str, number: u32, extension: &str) -> String {
    format!("{}-{}-{number:03}.{extension}", part(participant), part(track))
}

/// Letters, digits, `_` and `-` as they are, every other byte as `=` and two hex digits; what is too long ends in a
/// hash of the whole, so that different names stay different.
fn part(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("={byte:02x}"));
        }
    }
    if safe.is_empty() {
        return "=".to_owned();
    }
    if safe.len() > PART_MAX {
        safe.truncate(PART_MAX - 17);
        safe.push_str(&format!("={:016x}", fnv1a(text.as_bytes())));
    }
    safe
}

/// FNV-1a, 64 bits: enough to tell names apart, no secret.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_leave_the_folder_nor_hide() {
        assert_eq!(file_name("alice", "camera", 1, "webm"), "alice-camera-001.webm");
        assert_eq!(file_name("../../etc", "a/b\0", 2, "mp4"), "=2e=2e=2f=2e=2e=2fetc-a=2fb=00-002.mp4");
        assert_eq!(file_name(".hidden", "", 3, "webm"), "=2ehidden-=-003.webm");
        assert_eq!(file_name("Jürgen", "audio", 4, "webm"), "J=c3=bcrgen-audio-004.webm");
    }

    #[test]
    fn long_names_stay_different() {
        let (one, other) = ("x".repeat(5000), "x".repeat(5001));
        let (one, other) = (part(&one), part(&other));
        assert!(one.len() <= PART_MAX && other.len() <= PART_MAX);
        assert_ne!(one, other);
    }
}
