//! Pauses before something is tried again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The pause after a number of failures, counted from 1: any below a bound that begins with `first` and doubles up
/// to `most` ("full jitter"), so that those who failed together do not come back together.
///
/// ```
/// use std::time::Duration;
/// use transload_core::full_jitter;
///
/// let (first, most) = (Duration::from_secs(1), Duration::from_secs(60));
/// assert!(full_jitter(1, first, most) < first);
/// assert!(full_jitter(40, first, most) < most);
/// ```
#[must_use]
pub fn full_jitter(failures: u32, first: Duration, most: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let bound = first.saturating_mul(1 << doublings).min(most);
    // The standard library's only source of randomness; nothing here must be unpredictable.
    let share = RandomState::new().hash_one(failures) % 1000;
    bound.mul_f64(share as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_random_below_a_bound_that_doubles() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(60));
        for failures in 1..40 {
            let bound = Duration::from_secs(1 << (failures - 1).min(6)).min(most);
            let pauses: Vec<_> = (0..50).map(|_| full_jitter(failures, first, most)).collect();
            assert!(pauses.iter().all(|pause| *pause < bound), "{failures}: {pauses:?}");
            // Full jitter: some in the lower half, some in the upper one.
            assert!(pauses.iter().any(|pause| *pause < bound / 2));
            assert!(pauses.iter().any(|pause| *pause > bound / 2));
        }
    }
}
