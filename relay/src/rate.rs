//! How often somebody may do something: a bucket of permits for each, refilled over time. Pure.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Keys that are remembered. With more, those that have all their permits are forgotten first.
const KEYS_MAX: usize = 100_000;

/// So many at once, and one more every so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Permits of somebody who has waited long enough.
    pub burst: u32,
    /// Time for one more.
    pub interval: Duration,
}

/// Buckets of one kind.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    /// When a bucket will be full, if nothing is taken.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Hash + Eq> Limiter<K> {
    /// Full buckets for everybody.
    pub fn new(rate: Rate) -> Self {
        Limiter { rate, full_at: Mutex::default() }
    }

    /// Takes a permit; or how long to wait for one.
    pub fn take(&self, now: Instant, key: K) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= KEYS_MAX {
            full_at.retain(|_, at| *at > now);
            // Whoever fills this many buckets is an attack: strangers share what is left.
            if full_at.len() >= KEYS_MAX && !full_at.contains_key(&key) {
                return Err(self.rate.interval);
            }
        }
        let at = full_at.entry(key).or_insert(now);
        let filled = (*at).max(now) + self.rate.interval;
        let latest = now + self.rate.interval * self.rate.burst;
        if filled > latest {
            return Err(filled - latest);
        }
        *at = filled;
        Ok(())
    }

    /// Gives a permit back: what it was taken for was as it should be.
    pub fn give_back(&self, key: &K) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = full_at.get_mut(key)
            && let Some(earlier) = at.checked_sub(self.rate.interval)
        {
            *at = earlier;
        }
    }
}

/// What one household or one machine has: an address, of IPv6 a /64.
pub fn network(ip: IpAddr) -> IpAddr {
    const NETWORK_BITS_V6: u128 = !0 << 64;
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & NETWORK_BITS_V6).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(10) };

    #[test]
    fn a_burst_is_allowed_and_then_one_every_so_often() {
        let limiter = Limiter::new(RATE);
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take(now, "ada"), Ok(()));
        }
        assert_eq!(limiter.take(now, "ada"), Err(Duration::from_secs(10)));
        assert_eq!(limiter.take(now, "bob"), Ok(()), "everybody has a bucket of their own");
        let later = now + Duration::from_secs(10);
        assert_eq!(limiter.take(later, "ada"), Ok(()));
        assert_eq!(limiter.take(later, "ada"), Err(Duration::from_secs(10)));
        let much_later = now + Duration::from_secs(1000);
        for _ in 0..3 {
            assert_eq!(limiter.take(much_later, "ada"), Ok(()));
        }
        assert!(limiter.take(much_later, "ada").is_err(), "waiting longer fills no more than the bucket");
    }

    #[test]
    fn a_permit_can_be_given_back() {
        let limiter = Limiter::new(RATE);
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(limiter.take(now, "ada"), Ok(()));
            limiter.give_back(&"ada");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::new(RATE);
        let now = Instant::now();
        for key in 0..KEYS_MAX {
            assert_eq!(limiter.take(now, key), Ok(()));
        }
        assert!(limiter.take(now, KEYS_MAX).is_err());
        assert_eq!(limiter.take(now, 7), Ok(()), "who is known goes on");
        assert_eq!(
            limiter.take(now + Duration::from_secs(60), KEYS_MAX),
            Ok(()),
            "full buckets are forgotten"
        );
    }

    #[test]
    fn a_slash_64_is_one_network() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(ip("2001:db8::1")), network(ip("2001:db8::2")));
        assert_ne!(network(ip("2001:db8::1")), network(ip("2001:db8:0:1::1")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
