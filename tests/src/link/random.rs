//! Randomness that a seed decides: SplitMix64 (Steele, Lea, Flood 2014), good enough for dice and the same everywhere.

/// A row of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The row of a seed and a name within it: rows of different names have nothing to do with each other.
    pub(super) fn new(seed: u64, name: u64) -> Self {
        let mut random = Random(seed);
        let start = random.next() ^ name.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Random(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0, below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_everywhere() {
        // The first numbers of SplitMix64 from 0, as its authors publish them.
        let mut random = Random(0);
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn numbers_are_even_and_names_differ() {
        let mut random = Random::new(7, 1);
        let mean = (0..100_000).map(|_| random.unit()).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert_ne!(Random::new(7, 1).next(), Random::new(7, 2).next());
        assert_ne!(Random::new(7, 1).next(), Random::new(8, 1).next());
    }
}
