//! What a local cluster looks like: how many nodes, in how many zones, under which policy. Written once into its
//! directory, so that a second start finds the same.

use std::{fs, io, path::Path};

use holdfast_types::Code;
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, quantity};

/// Nodes as child processes of one supervisor at most: what a laptop's process table and memory take.
const NODES_MAX: u16 = 256;

/// What a local cluster looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// Storage nodes.
    pub(crate) nodes: u16,
    /// Failure domains; nodes are dealt to them in turn.
    pub(crate) zones: u16,
    /// The policy `default`, `K+M`.
    pub(crate) policy: String,
    /// `demo` or `production`.
    pub(crate) profile: String,
}

/// What somebody asked for on the command line; `None` leaves what there is, or the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) nodes: Option<u16>,
    pub(crate) zones: Option<u16>,
    pub(crate) policy: Option<Code>,
    pub(crate) profile: Option<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 16, zones: 4, policy: "8+4".into(), profile: "demo".into() }
    }
}

impl Shape {
    /// The shape in `file`, changed as far as it may be; the default one where there is none.
    pub(crate) fn of(file: &Path, wanted: &Wanted) -> Result<Self, Failure> {
        let shape = match fs::read_to_string(file) {
            Ok(text) => {
                toml::from_str::<Self>(&text).map_err(|error| Failure::file(file, error))?.grown(wanted, file)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default().with(wanted),
            Err(error) => return Err(Failure::file(file, error)),
        };
        shape.check()?;
        Ok(shape)
    }

    fn with(self, wanted: &Wanted) -> Self {
        Self {
            nodes: wanted.nodes.unwrap_or(self.nodes),
            zones: wanted.zones.unwrap_or(self.zones),
            policy: wanted.policy.map_or(self.policy, |code| code.to_string()),
            profile: wanted.profile.clone().unwrap_or(self.profile),
        }
    }

    /// A cluster with objects in it takes more nodes; everything else would orphan what it holds.
    fn grown(self, wanted: &Wanted, file: &Path) -> Result<Self, Failure> {
        let asked = self.clone().with(wanted);
        let fixed = |what: &str, is: &str, asked: &str| {
            Failure::Usage(format!(
                "the cluster of {} has {what} {is}, got {asked}; leave the flag away, or use another --dir",
                file.parent().unwrap_or(file).display()
            ))
        };
        if asked.nodes < self.nodes {
            return Err(fixed("nodes:", &self.nodes.to_string(), &asked.nodes.to_string()));
        }
        if asked.zones != self.zones {
            return Err(fixed("zones:", &self.zones.to_string(), &asked.zones.to_string()));
        }
        if asked.policy != self.policy {
            return Err(fixed("policy", &self.policy, &asked.policy));
        }
        if asked.profile != self.profile {
            return Err(fixed("profile", &self.profile, &asked.profile));
        }
        Ok(asked)
    }

    /// The code of the policy `default`.
    pub(crate) fn code(&self) -> Result<Code, Failure> {
        quantity::code(&self.policy).map_err(Failure::Usage)
    }

    /// The zone of node `number`, from 0.
    pub(crate) fn zone(&self, number: u16) -> String {
        format!("z{}", number % self.zones + 1)
    }

    fn nodes_in_zone(&self, zone: u16) -> u16 {
        (0..self.nodes).filter(|number| number % self.zones == zone).count() as u16
    }

    /// Refuses what no placement could satisfy, before anything is started.
    fn check(&self) -> Result<(), Failure> {
        let code = self.code()?;
        if !(1..=NODES_MAX).contains(&self.nodes) || !(1..=self.nodes).contains(&self.zones) {
            return Err(Failure::Usage(format!(
                "expected 1 to {NODES_MAX} nodes in 1 to as many zones, got {} nodes in {} zones",
                self.nodes, self.zones
            )));
        }
        let (total, parity) = (code.total(), code.parity());
        if self.nodes < total {
            return Err(Failure::Usage(format!(
                "policy {code} puts {} + {parity} = {total} shards on as many nodes, got {} nodes; add {}, or choose a smaller policy",
                code.data(),
                self.nodes,
                total - self.nodes
            )));
        }
        let room: u32 = (0..self.zones).map(|zone| u32::from(self.nodes_in_zone(zone).min(parity))).sum();
        if room < u32::from(total) {
            return Err(Failure::Usage(format!(
                "policy {code} puts at most {parity} of a segment's {total} shards in one zone; {} zones of these {} nodes take \
                 {room}; add zones",
                self.zones, self.nodes
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(nodes: u16, zones: u16, policy: &str) -> Wanted {
        Wanted { nodes: Some(nodes), zones: Some(zones), policy: Some(quantity::code(policy).unwrap()), profile: None }
    }

    fn fresh(wanted: &Wanted) -> Result<Shape, Failure> {
        Shape::of(Path::new("/nowhere/cluster.toml"), wanted)
    }

    #[test]
    fn what_cannot_be_placed_is_refused_with_the_arithmetic() {
        assert_eq!(fresh(&Wanted::default()).unwrap(), Shape::default());
        assert!(fresh(&wanted(12, 3, "8+4")).is_ok());
        let said = |wanted: Wanted| fresh(&wanted).unwrap_err().to_string();
        assert!(said(wanted(11, 4, "8+4")).contains("8 + 4 = 12"));
        assert!(said(wanted(16, 2, "8+4")).contains("take 8"));
        assert!(said(wanted(16, 17, "8+4")).contains("zones"));
        assert!(said(wanted(0, 0, "1+1")).contains("1 to"));
    }

    #[test]
    fn a_cluster_grows_by_nodes_and_changes_in_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cluster.toml");
        fs::write(&file, toml::to_string(&Shape::default()).unwrap()).unwrap();
        assert_eq!(Shape::of(&file, &Wanted::default()).unwrap(), Shape::default());
        assert_eq!(Shape::of(&file, &Wanted { nodes: Some(20), ..Wanted::default() }).unwrap().nodes, 20);
        for wanted in [wanted(12, 4, "8+4"), wanted(16, 5, "8+4"), wanted(16, 4, "4+2")] {
            assert!(matches!(Shape::of(&file, &wanted), Err(Failure::Usage(_))), "{wanted:?}");
        }
    }
}
