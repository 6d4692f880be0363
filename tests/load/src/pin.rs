//! Which core runs what. Inherited by threads and processes that the pinned thread starts.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The calling thread.
const THIS: Pid = Pid::from_raw(0);

/// The cores that the calling thread may use.
pub fn cores() -> nix::Result<Vec<usize>> {
    let allowed = sched_getaffinity(THIS)?;
    Ok((0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect())
}

/// Keeps the calling thread on these cores.
pub fn pin(cores: &[usize]) -> nix::Result<()> {
    let mut wanted = CpuSet::new();
    for &core in cores {
        wanted.set(core)?;
    }
    sched_setaffinity(THIS, &wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_put_and_others_do_not_follow() {
        let all = cores().unwrap();
        let last = *all.last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin(&[last]).unwrap();
            (cores().unwrap(), std::thread::spawn(cores).join().unwrap().unwrap())
        });
        assert_eq!(pinned.join().unwrap(), (vec![last], vec![last]));
        assert_eq!(cores().unwrap(), all);
    }
}
