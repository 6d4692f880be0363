//! Sizes and times as people write them: `256MiB`, `64kB`, `30s`, `500ms`, `2m`.

use std::{str::FromStr, time::Duration};

/// A number of bytes. `k`, `M`, `G` count in thousands, `Ki`, `Mi`, `Gi` in 1024; the `B` may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected a size such as 256MiB, 64kB or 1000000";
        let (number, unit) = number_and_unit(text).ok_or(wrong)?;
        let factor: u64 = match unit.strip_suffix('B').unwrap_or(unit) {
            "" => 1,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            _ => return Err(wrong),
        };
        number.checked_mul(factor).map(ByteSize).ok_or("that size is too large")
    }
}

/// A length of time. The unit must be there: a bare number means something else to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected a time with its unit, such as 500ms, 30s, 2m or 1h";
        let (number, unit) = number_and_unit(text).ok_or(wrong)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong),
        };
        number.checked_mul(milliseconds).map(Duration::from_millis).map(Span).ok_or("that time is too long")
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        for (text, bytes) in [("0", 0), ("7", 7), ("64kB", 64_000), ("1 MiB", 1 << 20), ("2G", 2_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_or_time_is_refused() {
        for text in ["", "MiB", "-1", "1.5G", "12TB", "99999999999999999999", "18446744073709551615G"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["", "30", "s", "1d", "18446744073709551615h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
