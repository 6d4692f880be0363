//! What is wrong with one direction of a link, and how it is written: `delay=25ms,loss=5%`.

use std::{fmt, str::FromStr, time::Duration};

/// What one direction does to datagrams. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Impairment {
    /// Every datagram takes at least this long.
    pub delay: Duration,
    /// And up to this much more, evenly spread. Order is kept.
    pub jitter: Duration,
    /// Part that is lost, each datagram for itself, 0 to 1.
    pub loss: f64,
    /// Losses in a row.
    pub burst: Option<Burst>,
    /// Datagrams that those after them overtake.
    pub reorder: Option<Reorder>,
    /// Part that arrives twice, 0 to 1.
    pub duplicate: f64,
    /// A bottleneck.
    pub rate: Option<Rate>,
    /// Largest UDP payload that gets through, bytes.
    pub size_max: Option<usize>,
}

/// Losses in a row, as the model of Gilbert and Elliott has them: a good state that loses nothing, a bad one that
/// loses everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Part of all datagrams that is lost this way, above 0 and below 1.
    pub loss: f64,
    /// Datagrams lost in a row, on average; at least 1.
    pub length: f64,
}

/// Datagrams held back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// Part of the datagrams, 0 to 1.
    pub part: f64,
    /// How long.
    pub by: Duration,
}

/// A bottleneck with a queue before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// What it carries, IP and UDP headers (28 bytes) included.
    pub bits_per_s: u64,
    /// A datagram that would wait longer than this is dropped.
    pub queue: Duration,
}

/// What is wrong with a description of an impairment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImpairmentError {
    /// No such thing.
    #[error(
        "{0:?} is nothing a link can do: write delay=, jitter=, loss=, burst=, reorder=, duplicate=, rate= or size=, \
         with commas between"
    )]
    Unknown(String),
    /// A value that cannot be.
    #[error("{key}={value}: write {example}")]
    Value {
        /// Which.
        key: &'static str,
        /// As written.
        value: String,
        /// How it looks.
        example: &'static str,
    },
}

impl Impairment {
    /// A link that only takes its time.
    pub fn delay(delay: Duration) -> Self {
        Impairment { delay, ..Impairment::default() }
    }

    /// The same with this part of the datagrams lost, each for itself.
    pub fn with_loss(self, loss: f64) -> Self {
        Impairment { loss, ..self }
    }

    /// Nothing gets through.
    pub fn blackout() -> Self {
        Impairment { loss: 1.0, ..Impairment::default() }
    }
}

impl FromStr for Impairment {
    type Err = ImpairmentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut impairment = Impairment::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let Some((key, value)) = word.split_once('=') else {
                return Err(ImpairmentError::Unknown(word.to_owned()));
            };
            let (key, example) = known(key).ok_or_else(|| ImpairmentError::Unknown(word.to_owned()))?;
            if impairment.set(key, value).is_none() {
                return Err(ImpairmentError::Value { key, value: value.to_owned(), example });
            }
        }
        Ok(impairment)
    }
}

/// The names, and how their values look.
const KNOWN: [(&str, &str); 8] = [
    ("delay", "a time, such as delay=25ms"),
    ("jitter", "a time, such as jitter=10ms"),
    ("loss", "a percentage, such as loss=5%"),
    ("burst", "the percentage lost and the mean length of a burst, such as burst=5%x4"),
    ("reorder", "how many are held back and for how long, such as reorder=2%/10ms"),
    ("duplicate", "a percentage, such as duplicate=1%"),
    ("rate", "bits a second (k, M, G) and the longest wait, such as rate=3M/200ms"),
    ("size", "the largest UDP payload in bytes, such as size=1252"),
];

fn known(key: &str) -> Option<(&'static str, &'static str)> {
    KNOWN.into_iter().find(|(name, _)| *name == key.trim())
}

impl Impairment {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "delay" => self.delay = parse_duration(value)?,
            "jitter" => self.jitter = parse_duration(value)?,
            "loss" => self.loss = part(value)?,
            "burst" => {
                let (loss, length) = value.split_once('x')?;
                let burst = Burst { loss: part(loss)?, length: number(length)? };
                // With everything lost there is no good state to come back to.
                if burst.loss <= 0.0 || burst.loss >= 1.0 || burst.length < 1.0 {
                    return None;
                }
                self.burst = Some(burst);
            }
            "reorder" => {
                let (share, by) = value.split_once('/')?;
                self.reorder = Some(Reorder { part: part(share)?, by: parse_duration(by)? });
            }
            "duplicate" => self.duplicate = part(value)?,
            "rate" => {
                let (rate, queue) = value.split_once('/')?;
                let bits_per_s = bits(rate).filter(|bits| *bits > 0)?;
                self.rate = Some(Rate { bits_per_s, queue: parse_duration(queue)? });
            }
            "size" => self.size_max = Some(value.trim().parse().ok()?),
            _ => return None,
        }
        Some(())
    }
}

impl fmt::Display for Impairment {
    /// In the form that is read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if !self.delay.is_zero() {
            words.push(format!("delay={:?}", self.delay));
        }
        if !self.jitter.is_zero() {
            words.push(format!("jitter={:?}", self.jitter));
        }
        if self.loss > 0.0 {
            words.push(format!("loss={}%", self.loss * 100.0));
        }
        if let Some(Burst { loss, length }) = self.burst {
            words.push(format!("burst={}%x{length}", loss * 100.0));
        }
        if let Some(Reorder { part, by }) = self.reorder {
            words.push(format!("reorder={}%/{by:?}", part * 100.0));
        }
        if self.duplicate > 0.0 {
            words.push(format!("duplicate={}%", self.duplicate * 100.0));
        }
        if let Some(Rate { bits_per_s, queue }) = self.rate {
            words.push(format!("rate={bits_per_s}/{queue:?}"));
        }
        if let Some(size) = self.size_max {
            words.push(format!("size={size}"));
        }
        f.write_str(&words.join(","))
    }
}

/// `25ms`, `1.5s`, `2m`; `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (value, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number(value)? * seconds).ok()
}

fn part(text: &str) -> Option<f64> {
    let percent = number(text.trim().strip_suffix('%')?)?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

fn bits(text: &str) -> Option<u64> {
    let text = text.trim();
    let (value, unit) = match text.char_indices().last()? {
        (at, 'k') => (text.get(..at)?, 1e3),
        (at, 'M') => (text.get(..at)?, 1e6),
        (at, 'G') => (text.get(..at)?, 1e9),
        _ => (text, 1.0),
    };
    Some((number(value)? * unit) as u64)
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str =
        "delay=25ms,jitter=10ms,loss=5%,burst=2.5%x4,reorder=2%/10ms,duplicate=1%,rate=3M/200ms,size=1252";

    #[test]
    fn everything_a_link_can_do_can_be_written_and_read_back() {
        let all: Impairment = ALL.parse().unwrap();
        assert_eq!(all.delay, Duration::from_millis(25));
        assert_eq!(all.burst, Some(Burst { loss: 0.025, length: 4.0 }));
        assert_eq!(all.rate, Some(Rate { bits_per_s: 3_000_000, queue: Duration::from_millis(200) }));
        assert_eq!(all.to_string().parse(), Ok(all));
        assert_eq!("".parse(), Ok(Impairment::default()));
        assert_eq!(" loss=100% , ".parse(), Ok(Impairment::blackout()));
    }

    #[test]
    fn what_cannot_be_is_explained() {
        for (text, words) in [
            ("los=5%", "burst="),
            ("loss", "loss"),
            ("loss=5", "loss=5%"),
            ("loss=101%", "percentage"),
            ("delay=25", "delay=25ms"),
            ("burst=5%", "burst=5%x4"),
            ("burst=100%x4", "burst=5%x4"),
            ("burst=5%x0.5", "burst=5%x4"),
            ("rate=3M", "rate=3M/200ms"),
            ("rate=0/1s", "bits a second"),
            ("size=-1", "bytes"),
            ("jitter=NaNs", "a time"),
        ] {
            let error = text.parse::<Impairment>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
