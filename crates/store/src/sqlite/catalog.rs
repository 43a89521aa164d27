//! Packages and lanes, in memory: few, and asked for with every request.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;
use windlass_model::code::Code;
use windlass_model::id::{CodeId, ProjectId};

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

/// Every package, also deleted ones, and every lane. Both are numbered from 0 without gaps; the numbers are their rows'
/// keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    packages: Vec<Arc<Code>>,
    numbers: HashMap<CodeId, usize>,
    names: HashMap<ProjectId, HashMap<String, usize>>,
    lanes: Vec<Lane>,
    lanes_of: Vec<Vec<usize>>,
}

impl Catalog {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut catalog = Self::default();
        let mut packages = conn.prepare("SELECT num, data FROM code ORDER BY num")?;
        let packages = packages.query_map([], |row| Ok((row.get(0)?, row.get::<_, Json<Code>>(1)?.0)))?;
        for package in packages {
            let (number, code) = package?;
            catalog.put(number, code);
        }
        let mut lanes = conn.prepare("SELECT code, cluster FROM lane ORDER BY id")?;
        let lanes = lanes.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        for lane in lanes {
            let (package, cluster) = lane?;
            catalog.add_lane(package, &cluster);
        }
        Ok(catalog)
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

    /// Adds a lane and returns its number.
    pub(super) fn add_lane(&mut self, package: usize, cluster: &str) -> usize {
        let code = &self.packages[package];
        let number = self.lanes.len();
        self.lanes.push(Lane { package, code: code.id, project: code.project, cluster: cluster.into() });
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
