//! `holdfast auditor`: the control daemon.

use clap::Args;
use holdfast_auditor::Config;

use crate::{daemon::DaemonArgs, failure::Failure};

/// Run the auditor: it keeps the catalog, challenges the nodes, judges, and repairs.
#[derive(Debug, Args)]
#[command(after_help = "The configuration is described in deploy/config/auditor.toml.\n\
    SIGTERM or Ctrl-C drains for at most 5 s; a second signal ends at once. Nothing acknowledged is lost either way.")]
pub(crate) struct Auditor {
    #[command(flatten)]
    daemon: DaemonArgs,
}

impl Auditor {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = Config::load(&self.daemon.config).map_err(|error| Failure::Usage(error.to_string()))?;
        self.daemon.run(|shutdown| async {
            holdfast_auditor::run(config, shutdown).await.map_err(|error| Failure::Failed(error.to_string()))
        })
    }
}
