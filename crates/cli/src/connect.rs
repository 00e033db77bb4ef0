//! From the command line to a client's configuration, and from there to auditor and nodes.

use std::{env, future::Future, path::PathBuf, time::SystemTime};

use clap::Args;
use holdfast_client::{Auditor, Client, ClientConfig};
use holdfast_transport::{Dialer, TlsMaterial};
use holdfast_types::{VerdictId, Wall};
use holdfast_wire::convert::ListVerdicts;

use crate::failure::Failure;

/// Where a client finds its cluster, and how it answers.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArgs {
    /// The client's configuration: where the auditor is, certificate, owner key
    /// [default: ~/.config/holdfast/client.toml]
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG")]
    config: Option<PathBuf>,
    /// Answer with one JSON object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

impl ClientArgs {
    /// Reads the configuration.
    pub(crate) fn load(&self) -> Result<ClientConfig, Failure> {
        let path = match &self.config {
            Some(path) => path.clone(),
            None => default_path().filter(|path| path.exists()).ok_or_else(no_configuration)?,
        };
        Ok(ClientConfig::load(&path)?)
    }

    /// Runs `work` with key and certificates at hand: for what reads or writes objects.
    pub(crate) fn act<T, F>(&self, work: impl FnOnce(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let config = self.load()?;
        runtime()?.block_on(async { work(Client::connect(&config).await?).await })
    }

    /// Runs `work` with the auditor at hand: for what needs no owner's key.
    pub(crate) fn ask<T, F>(&self, work: impl FnOnce(Auditor) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let config = self.load()?;
        runtime()?.block_on(async { work(auditor(&config).await?).await })
    }
}

fn no_configuration() -> Failure {
    Failure::Usage(
        "there is no client configuration: give --config FILE or set HOLDFAST_CONFIG (`holdfast up` prints one for the cluster it runs)"
            .into(),
    )
}

fn default_path() -> Option<PathBuf> {
    let base = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(base.join("holdfast/client.toml"))
}

/// The runtime of a client's command.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The wall clock.
pub(crate) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall(since.as_millis() as u64)
}

/// Connects to the auditor under the client's certificate.
pub(crate) async fn auditor(config: &ClientConfig) -> Result<Auditor, Failure> {
    let tls = &config.tls;
    let material = TlsMaterial::load_files(&tls.ca, &tls.cert, &tls.key, wall())?;
    Ok(Auditor::connect(&Dialer::new(material), &config.auditors).await?)
}

/// The newest verdict there is.
pub(crate) async fn newest(auditor: &Auditor) -> Result<VerdictId, Failure> {
    let list = ListVerdicts { after: VerdictId(0), node: None, limit: 1, latest: true };
    Ok(auditor.verdicts(list).await?.first().map_or(VerdictId(0), |view| view.verdict.id))
}
