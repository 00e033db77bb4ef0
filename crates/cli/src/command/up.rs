//! `holdfast up`: keeps a cluster running on this machine.

use std::path::PathBuf;

use clap::Args;
use holdfast_types::Code;
use serde_json::json;

use crate::{
    cluster::{Cluster, Wanted},
    failure::Failure,
    output, quantity,
    signals::Signals,
};

/// Keep a cluster running on this machine: an auditor and storage nodes as child processes, mutual TLS between them.
#[derive(Debug, Args)]
#[command(
    after_help = "A second start on the same directory finds keys, ports and objects again; --nodes may then only grow.\n\
    Ctrl-C ends the cluster; kill -9 of any process loses nothing that was acknowledged."
)]
pub(crate) struct Up {
    /// Storage nodes [default: 16]
    #[arg(long, value_name = "N")]
    nodes: Option<u16>,
    /// Zones that the nodes are dealt to [default: 4]
    #[arg(long, value_name = "N")]
    zones: Option<u16>,
    /// Directory of the cluster
    #[arg(long, value_name = "DIR", default_value = "holdfast-cluster")]
    dir: PathBuf,
    /// Data and parity shards of the policy `default` [default: 8+4]
    #[arg(long, value_name = "K+M", value_parser = quantity::code)]
    policy: Option<Code>,
    /// Intervals of audits and repairs: seconds (demo) or hours (production) [default: demo]
    #[arg(long, value_parser = ["demo", "production"])]
    profile: Option<String>,
    /// Print one JSON object when the cluster is ready
    #[arg(long)]
    pub(crate) json: bool,
}

impl Up {
    pub(crate) fn run(self) -> Result<(), Failure> {
        // One thread: the kernel ends children with the thread that made them.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.keep_up())
    }

    async fn keep_up(self) -> Result<(), Failure> {
        let signal = Signals::listen()?.first();
        tokio::pin!(signal);
        let wanted =
            Wanted { nodes: self.nodes, zones: self.zones, policy: self.policy, profile: self.profile.clone() };
        let tell = |text: &str| output::note(&format!("holdfast: {text}"));
        let cluster = tokio::select! {
            cluster = Cluster::start(&self.dir, &wanted, tell) => cluster?,
            () = &mut signal => return Ok(()),
        };
        let told = if self.json { tell_object(&cluster) } else { tell_people(&cluster) };
        match told {
            // A cluster does not end because nobody reads what it prints.
            Ok(()) | Err(Failure::ClosedPipe) => {}
            Err(failure) => {
                cluster.stop().await;
                return Err(failure);
            }
        }
        signal.await;
        output::note("holdfast: stopping");
        cluster.stop().await;
        output::note("holdfast: stopped; the same command finds everything again");
        Ok(())
    }
}

fn tell_object(cluster: &Cluster) -> Result<(), Failure> {
    let nodes: Vec<_> = cluster
        .members()
        .iter()
        .map(|member| json!({ "name": member.name, "node": member.id, "zone": member.zone, "address": member.address }))
        .collect();
    let tls = cluster.client_tls();
    output::object(&json!({
        "ok": true,
        "dir": cluster.root(),
        "auditor": cluster.auditor_address(),
        "ca": cluster.ca(),
        "client": {
            "config": cluster.client_config(), "cert": tls.join("cert.pem"), "key": tls.join("key.pem"),
        },
        "policy": cluster.shape().policy,
        "profile": cluster.shape().profile,
        "nodes": nodes,
    }))
}

fn tell_people(cluster: &Cluster) -> Result<(), Failure> {
    let shape = cluster.shape();
    let row = |member: &crate::cluster::Member| {
        vec![member.name.clone(), member.zone.clone(), member.address.to_string(), member.id.to_string()]
    };
    output::table(&["NODE", "ZONE", "ADDRESS", "ID"], &cluster.members().iter().map(row).collect::<Vec<_>>())?;
    let tls = cluster.client_tls();
    let lines = [
        String::new(),
        format!(
            "cluster      {} nodes in {} zones, policy default {}, profile {}",
            shape.nodes, shape.zones, shape.policy, shape.profile
        ),
        format!("auditor      {}  (gRPC over mutual TLS, health and reflection)", cluster.auditor_address()),
        format!("authority    {}", cluster.ca().display()),
        format!("certificate  {}", tls.join("cert.pem").display()),
        format!("key          {}", tls.join("key.pem").display()),
        format!("owner key    {}", cluster.client_config().with_file_name("owner.key").display()),
        format!("logs         {}", cluster.log_dir().display()),
        String::new(),
        "Next, in another terminal:".into(),
        format!("  export HOLDFAST_CONFIG={}", cluster.client_config().display()),
        "  holdfast put FILE          # prints the object's id".into(),
        "  holdfast ls".into(),
        "  holdfast stat OBJECT       # which node holds which shard".into(),
        "  holdfast get OBJECT FILE".into(),
        "  holdfast audit watch       # verdicts as they come".into(),
        "  holdfast status".into(),
        String::new(),
        "Ctrl-C ends the cluster; nothing that was acknowledged is lost.".into(),
    ];
    lines.iter().try_for_each(|line| output::line(line))
}
