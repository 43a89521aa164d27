//! Packages and lanes, in memory: few, and asked for with every request.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;
use windlass_model::code::Code;
use windlass_model::id::{CodeId, ProjectId};
use windlass_model::isolation::Level;
use windlass_model::project::Project;

use super::rows::Json;

/// The tasks of one package for one cluster.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Number of the package.
    pub(super) package: usize,
    pub(super) code: CodeId,
    pub(super) project: ProjectId,
    pub(super) cluster: Arc<str>,
}

/// Every package, also deleted ones, and every lane that has tasks. Both are numbered from 0; the numbers are their rows'
/// keys. Clients name clusters, so lanes that no task is in any more are dropped, and their numbers used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    packages: Vec<Arc<Code>>,
    numbers: HashMap<CodeId, usize>,
    names: HashMap<ProjectId, HashMap<String, usize>>,
    /// Projects that demand more than the weakest isolation.
    demands: HashMap<ProjectId, Level>,
    lanes: Vec<Lane>,
    lanes_of: Vec<Vec<usize>>,
    /// Numbers of lanes that were dropped, to be used again.
    vacant: Vec<usize>,
    /// The same, dropped lately: somebody may still be reading what was in them.
    resting: Vec<usize>,
}

impl Lane {
    /// Whether it is a number only: no cluster has an empty name.
    pub(super) fn is_vacant(&self) -> bool {
        self.cluster.is_empty()
    }
}

impl Catalog {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut catalog = Self::default();
        let mut projects = conn.prepare("SELECT data FROM project")?;
        for project in projects.query_map([], |row| row.get::<_, Json<Project>>(0))? {
            let Json(project) = project?;
            catalog.set_demand(project.id, project.min_isolation);
        }
        let mut packages = conn.prepare("SELECT num, data FROM code ORDER BY num")?;
        let packages = packages.query_map([], |row| Ok((row.get(0)?, row.get::<_, Json<Code>>(1)?.0)))?;
        for package in packages {
            let (number, code) = package?;
            catalog.put(number, code);
        }
        let mut lanes = conn.prepare("SELECT id, code, cluster FROM lane ORDER BY id")?;
        let lanes = lanes.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
        for lane in lanes {
            let (number, package, cluster) = lane?;
            while catalog.lanes.len() < number {
                let gap = catalog.add_lane(package, "");
                catalog.drop_lane(gap);
            }
            catalog.add_lane(package, &cluster);
        }
        Ok(catalog)
    }

    /// Sets what isolation the project demands.
    pub(super) fn set_demand(&mut self, project: ProjectId, level: Level) {
        match level {
            Level::Process => self.demands.remove(&project),
            level => self.demands.insert(project, level),
        };
    }

    /// The isolation that the package's tasks need.
    pub(super) fn needs(&self, package: usize) -> Level {
        self.demands.get(&self.packages[package].project).copied().unwrap_or_default()
    }

    /// Puts a package in its place; a new one takes the next number.
    pub(super) fn put(&mut self, number: usize, code: Code) {
        let names = self.names.entry(code.project).or_default();
        if code.deleted_at.is_none() {
            names.insert(code.name.clone(), number);
        } else if names.get(&code.name) == Some(&number) {
            names.remove(&code.name);
        }
        self.numbers.insert(code.id, number);
        let code = Arc::new(code);
        if number < self.packages.len() {
            self.packages[number] = code;
        } else {
            self.packages.push(code);
            self.lanes_of.push(Vec::new());
        }
    }

    /// The number that the next lane gets.
    pub(super) fn next_lane(&self) -> usize {
        self.vacant.last().copied().unwrap_or(self.lanes.len())
    }

    /// Forgets a lane that no task is in.
    pub(super) fn drop_lane(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        lane.cluster = "".into();
        self.lanes_of[lane.package].retain(|&other| other != number);
        self.resting.push(number);
    }

    /// What was dropped before now was so long ago that nobody is reading it any more.
    pub(super) fn end_rest(&mut self) {
        self.vacant.append(&mut self.resting);
    }

    /// Adds a lane and returns its number.
    pub(super) fn add_lane(&mut self, package: usize, cluster: &str) -> usize {
        let code = &self.packages[package];
        let lane = Lane { package, code: code.id, project: code.project, cluster: cluster.into() };
        let number = self.next_lane();
        match self.vacant.pop() {
            Some(number) => self.lanes[number] = lane,
            None => self.lanes.push(lane),
        }
        self.lanes_of[package].push(number);
        number
    }

    pub(super) fn packages(&self) -> &[Arc<Code>] {
        &self.packages
    }

    /// Packages of the project with their numbers, also deleted ones.
    pub(super) fn packages_of(&self, project: ProjectId) -> impl Iterator<Item = (usize, CodeId)> {
        let all = self.packages.iter().enumerate();
        all.filter(move |(_, code)| code.project == project).map(|(number, code)| (number, code.id))
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    pub(super) fn lane(&self, number: usize) -> Option<&Lane> {
        self.lanes.get(number)
    }

    pub(super) fn lanes_of(&self, package: usize) -> &[usize] {
        &self.lanes_of[package]
    }

    /// The lane of the package for the cluster.
    pub(super) fn lane_for(&self, package: usize, cluster: &str) -> Option<usize> {
        self.lanes_of[package].iter().copied().find(|&lane| &*self.lanes[lane].cluster == cluster)
    }

    pub(super) fn number(&self, id: CodeId) -> Option<usize> {
        self.numbers.get(&id).copied()
    }

    pub(super) fn code(&self, id: CodeId) -> Option<&Arc<Code>> {
        self.number(id).map(|number| &self.packages[number])
    }

    /// The package with this name that is not deleted.
    pub(super) fn named(&self, project: ProjectId, name: &str) -> Option<usize> {
        self.names.get(&project)?.get(name).copied()
    }
}
