//! Who is next: claim order and concurrency limits, in memory.
//!
//! Each lane (the tasks of one package for one cluster) has a window: the first of its ready keys. Each cluster has its
//! lanes in the order of their first keys, without those of packages that are paused or have no room, so a million
//! blocked tasks cost a claim nothing. It has an order for each level of isolation that packages need: a runner takes
//! the first of those that it is good enough for, and never meets the others. Pure: whoever keeps the keys fills the
//! windows.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use windlass_model::isolation::Level;

/// The place of a task in its lane: highest priority first (`prank` is 2 - priority), then oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// 2 - priority.
    pub prank: u8,
    /// The task.
    pub seq: i64,
}

/// Keys that are read into a window at once.
pub const WINDOW: usize = 1024;

/// What a claim finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is claimable.
    Nothing,
    /// The first keys of this lane must be read first, and given to [`Windows::fill`].
    Fill(usize),
    /// This task; it counts as running from now on.
    Take(usize, Key),
}

#[derive(Debug)]
struct Lane {
    package: usize,
    cluster: Arc<str>,
    keys: BTreeSet<Key>,
    /// Keys up to here are all in `keys`, keys after it are not; none: all keys are.
    horizon: Option<Key>,
    /// Its entry in the order of its cluster.
    head: Option<(Level, Key)>,
}

#[derive(Debug, Default)]
struct Package {
    is_paused: bool,
    limit: Option<u32>,
    needs: Level,
    running: u32,
    lanes: Vec<usize>,
}

impl Package {
    fn has_room(&self) -> bool {
        !self.is_paused && self.limit.is_none_or(|limit| self.running < limit)
    }
}

/// The lanes of a cluster whose packages need one level of isolation, by their first keys.
type Order = BTreeSet<(Key, usize)>;

/// Every lane's window and every package's limit. Lanes and packages are numbered by the caller, from 0 without gaps.
#[derive(Debug, Default)]
pub struct Windows {
    lanes: Vec<Lane>,
    packages: Vec<Package>,
    clusters: HashMap<Arc<str>, [Order; Level::ALL.len()]>,
}

impl Windows {
    /// Sets what keeps the package's tasks from starting, and the isolation that they need; a new one is the next number.
    pub fn set_package(&mut self, package: usize, is_paused: bool, limit: Option<u32>, needs: Level) {
        if package >= self.packages.len() {
            self.packages.resize_with(package + 1, Package::default);
        }
        self.packages[package].is_paused = is_paused;
        self.packages[package].limit = limit;
        self.packages[package].needs = needs;
        self.arrange(package);
    }

    /// Adds the next lane, or one in the place of one that was dropped. `is_empty`: nothing is ready in it; otherwise
    /// it is filled when it is first looked at.
    pub fn put_lane(&mut self, lane: usize, package: usize, cluster: &Arc<str>, is_empty: bool) {
        let horizon = (!is_empty).then_some(Key { prank: 0, seq: i64::MIN });
        let cluster = cluster.clone();
        let window = Lane { package, cluster, keys: BTreeSet::new(), horizon, head: None };
        if lane < self.lanes.len() {
            self.lanes[lane] = window;
        } else {
            self.lanes.push(window);
        }
        self.packages[package].lanes.push(lane);
        self.refresh(lane);
    }

    /// Forgets a lane that no task is in; its number is left for another.
    pub fn drop_lane(&mut self, lane: usize) {
        let window = &mut self.lanes[lane];
        window.keys.clear();
        window.horizon = None;
        self.refresh(lane);
        let window = &self.lanes[lane];
        self.packages[window.package].lanes.retain(|&other| other != lane);
        if self.clusters.get(&window.cluster).is_some_and(|orders| orders.iter().all(Order::is_empty)) {
            self.clusters.remove(&window.cluster);
        }
    }

    /// A task became ready.
    pub fn push(&mut self, lane: usize, key: Key) {
        let window = &mut self.lanes[lane];
        if window.horizon.is_some_and(|horizon| key > horizon) {
            return;
        }
        window.keys.insert(key);
        if window.keys.len() > 2 * WINDOW {
            let cut = window.keys.iter().nth(WINDOW).copied();
            if let Some(cut) = cut {
                window.keys.split_off(&cut);
                window.horizon = window.keys.last().copied();
            }
        }
        self.refresh(lane);
    }

    /// A ready task was taken away by something else than a claim.
    pub fn remove(&mut self, lane: usize, key: Key) {
        if self.lanes[lane].keys.remove(&key) {
            self.refresh(lane);
        }
    }

    /// The next task of the cluster for a runner that isolates as well as `level` says.
    pub fn next(&mut self, cluster: &str, level: Level) -> Next {
        let Some(orders) = self.clusters.get(cluster) else { return Next::Nothing };
        let first = orders[..=level as usize].iter().filter_map(Order::first).min();
        let Some(&(_, lane)) = first else { return Next::Nothing };
        let Some(key) = self.lanes[lane].keys.pop_first() else { return Next::Fill(lane) };
        self.refresh(lane);
        self.started(self.lanes[lane].package);
        Next::Take(lane, key)
    }

    /// The first [`WINDOW`] ready keys of an empty window, ascending; fewer where there are no more.
    pub fn fill(&mut self, lane: usize, keys: Vec<Key>) {
        let window = &mut self.lanes[lane];
        window.horizon = if keys.len() < WINDOW { None } else { keys.last().copied() };
        window.keys = keys.into_iter().collect();
        self.refresh(lane);
    }

    /// A task of the package runs.
    pub fn started(&mut self, package: usize) {
        let had_room = self.packages[package].has_room();
        self.packages[package].running += 1;
        if had_room != self.packages[package].has_room() {
            self.arrange(package);
        }
    }

    /// A task of the package does not run any more. `true`: that made room where there was none.
    pub fn stopped(&mut self, package: usize) -> bool {
        let had_room = self.packages[package].has_room();
        self.packages[package].running = self.packages[package].running.saturating_sub(1);
        let made_room = !had_room && self.packages[package].has_room();
        if made_room {
            self.arrange(package);
        }
        made_room
    }

    /// Whether the package may start another task.
    pub fn has_room(&self, package: usize) -> bool {
        self.packages[package].has_room()
    }

    /// The isolation that the package's tasks need.
    pub fn needs(&self, package: usize) -> Level {
        self.packages[package].needs
    }

    /// Clusters in which a task of the package may be claimable.
    pub fn claimable_in(&self, package: usize) -> impl Iterator<Item = &Arc<str>> {
        let lanes = self.packages[package].lanes.iter().map(|&lane| &self.lanes[lane]);
        lanes.filter(|lane| lane.head.is_some()).map(|lane| &lane.cluster)
    }

    fn arrange(&mut self, package: usize) {
        for at in 0..self.packages[package].lanes.len() {
            self.refresh(self.packages[package].lanes[at]);
        }
    }

    /// Puts the lane at its place in the order of its cluster. A window that is used up stands for the keys after its
    /// horizon: they are not before it.
    fn refresh(&mut self, lane: usize) {
        let window = &mut self.lanes[lane];
        let first = window.keys.first().copied().or(window.horizon);
        let package = &self.packages[window.package];
        let head = first.filter(|_| package.has_room()).map(|key| (package.needs, key));
        if head == window.head {
            return;
        }
        if !self.clusters.contains_key(&window.cluster) {
            self.clusters.insert(window.cluster.clone(), Default::default());
        }
        let Some(orders) = self.clusters.get_mut(&window.cluster) else { return };
        if let Some((level, old)) = window.head {
            orders[level as usize].remove(&(old, lane));
        }
        if let Some((level, new)) = head {
            orders[level as usize].insert((new, lane));
        }
        window.head = head;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prank: u8, seq: i64) -> Key {
        Key { prank, seq }
    }

    fn next(windows: &mut Windows, cluster: &str) -> Next {
        windows.next(cluster, Level::Process)
    }

    fn two_lanes() -> Windows {
        let mut windows = Windows::default();
        let cluster: Arc<str> = "default".into();
        for package in 0..2 {
            windows.set_package(package, false, None, Level::Process);
            windows.put_lane(package, package, &cluster, true);
        }
        windows
    }

    #[test]
    fn priority_then_age_over_all_lanes_of_the_cluster() {
        let mut windows = two_lanes();
        windows.push(0, key(2, 1));
        windows.push(1, key(0, 9));
        windows.push(0, key(2, 3));
        windows.push(1, key(2, 2));
        let order: Vec<i64> = std::iter::from_fn(|| match next(&mut windows, "default") {
            Next::Take(_, key) => Some(key.seq),
            _ => None,
        })
        .collect();
        assert_eq!(order, [9, 1, 2, 3]);
        assert_eq!(next(&mut windows, "other"), Next::Nothing);
    }

    #[test]
    fn the_number_of_a_dropped_lane_is_used_again() {
        let mut windows = two_lanes();
        windows.push(0, key(2, 1));
        assert_eq!(next(&mut windows, "default"), Next::Take(0, key(2, 1)));
        windows.drop_lane(0);
        windows.drop_lane(1);
        assert!(windows.clusters.is_empty());
        windows.put_lane(0, 1, &"gpu".into(), true);
        windows.push(0, key(2, 2));
        assert_eq!(
            (next(&mut windows, "default"), next(&mut windows, "gpu")),
            (Next::Nothing, Next::Take(0, key(2, 2)))
        );
    }

    #[test]
    fn a_paused_or_full_package_is_not_looked_at() {
        let mut windows = two_lanes();
        windows.push(0, key(2, 1));
        windows.push(0, key(2, 2));
        windows.set_package(0, true, None, Level::Process);
        assert_eq!(next(&mut windows, "default"), Next::Nothing);
        windows.set_package(0, false, Some(1), Level::Process);
        assert_eq!(next(&mut windows, "default"), Next::Take(0, key(2, 1)));
        assert_eq!(next(&mut windows, "default"), Next::Nothing);
        assert!(windows.stopped(0), "there is room again");
        assert_eq!(next(&mut windows, "default"), Next::Take(0, key(2, 2)));
    }

    #[test]
    fn a_runner_meets_only_what_it_is_good_enough_for() {
        let mut windows = two_lanes();
        windows.push(0, key(0, 1));
        windows.push(0, key(0, 3));
        windows.push(1, key(2, 2));
        windows.set_package(0, false, None, Level::CgroupsV1);
        let (weak, strong) = (Level::Namespaces, Level::CgroupsV2);
        assert_eq!(windows.next("default", strong), Next::Take(0, key(0, 1)), "levels share one order");
        assert_eq!(windows.next("default", weak), Next::Take(1, key(2, 2)), "what is ahead blocks nobody");
        assert_eq!(windows.next("default", weak), Next::Nothing);
        windows.set_package(0, false, None, weak);
        assert_eq!(windows.next("default", weak), Next::Take(0, key(0, 3)), "less is needed now");
        windows.drop_lane(0);
        windows.drop_lane(1);
        assert!(windows.clusters.is_empty());
    }

    #[test]
    fn a_window_that_overflows_is_filled_again_when_it_is_used_up() {
        let mut windows = two_lanes();
        let count = 2 * WINDOW as i64 + 1;
        for seq in 0..count {
            windows.push(0, key(2, seq));
        }
        windows.push(0, key(2, count));
        for seq in 0..WINDOW as i64 {
            assert_eq!(next(&mut windows, "default"), Next::Take(0, key(2, seq)));
        }
        assert_eq!(next(&mut windows, "default"), Next::Fill(0));
        windows.push(0, key(1, 7));
        assert_eq!(next(&mut windows, "default"), Next::Take(0, key(1, 7)), "a higher priority goes first");
        assert_eq!(next(&mut windows, "default"), Next::Fill(0));
        windows.fill(0, vec![key(2, WINDOW as i64)]);
        assert_eq!(next(&mut windows, "default"), Next::Take(0, key(2, WINDOW as i64)));
        assert_eq!(next(&mut windows, "default"), Next::Nothing);
    }
}
