//! How late things came: a histogram with buckets of at most a thirty-second of their value.

use std::time::Duration;

/// Buckets per doubling.
const STEPS_BITS: u32 = 5;
const STEPS: u64 = 1 << STEPS_BITS;

/// Counts of durations, in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    most: Duration,
}

impl Latencies {
    /// One more.
    pub fn record(&mut self, latency: Duration) {
        let index = bucket(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
        self.total += 1;
        self.most = self.most.max(latency);
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Latencies) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.most = self.most.max(other.most);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The latency that so many per cent did not exceed; never more than the longest. Zero when there is none.
    pub fn percentile(&self, percent: f64) -> Duration {
        // Positive and at most the total, which is far below 2^52.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let wanted = (percent / 100.0 * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Duration::from_micros(upper_end(index)).min(self.most);
            }
        }
        Duration::ZERO
    }
}

/// The bucket of so many microseconds: exact below [`STEPS`], then [`STEPS`] to a doubling.
fn bucket(us: u64) -> usize {
    let Some(octave) = us.checked_ilog2().and_then(|log| log.checked_sub(STEPS_BITS)) else {
        return usize::try_from(us).unwrap_or(0);
    };
    let step = (us >> octave) - STEPS;
    usize::try_from((u64::from(octave) + 1) * STEPS + step).unwrap_or(usize::MAX)
}

/// The most microseconds that fall into a bucket.
fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    let Some(octave) = (index / STEPS).checked_sub(1) else { return index };
    let step = index % STEPS + STEPS;
    (((u128::from(step) + 1) << octave) - 1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for index in 0..1500 {
            let end = upper_end(index);
            assert_eq!(bucket(end), index, "{end}");
            assert_eq!(bucket(end + 1), index + 1, "{end}");
        }
    }

    #[test]
    fn a_bucket_is_at_most_a_thirty_second_of_its_value_wide() {
        for us in (0..5_000_000).step_by(997) {
            let end = upper_end(bucket(us));
            assert!(end >= us && (end - us) * 32 <= us, "{us} {end}");
        }
        assert!(upper_end(bucket(u64::MAX)) >= u64::MAX / 2);
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50.0), Duration::ZERO);
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        let within = |percent, us: u64| {
            let found = latencies.percentile(percent).as_micros() as u64;
            assert!((us..=us + us / 32 + 1).contains(&found), "p{percent}: {found}");
        };
        within(50.0, 500);
        within(99.0, 990);
        within(0.1, 1);
        assert_eq!(latencies.percentile(100.0), Duration::from_micros(1000));
    }

    #[test]
    fn merged_counts_are_the_counts_of_both() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(Duration::from_micros(10));
        other.record(Duration::from_millis(50));
        one.merge(&other);
        assert_eq!(one.count(), 2);
        assert_eq!(one.percentile(50.0), Duration::from_micros(10));
        assert_eq!(one.percentile(100.0), Duration::from_millis(50));
    }
}
