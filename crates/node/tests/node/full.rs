//! A real disk, really full: a tmpfs of the test's own, in a mount namespace of its own.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use holdfast_types::{Fence, Operation};
use holdfast_wire::ErrorCode;

use crate::cluster::*;

/// Where the inner run finds its disk.
const DISK: &str = "HOLDFAST_TEST_DISK";
/// Above the volume's floor of 64 MiB there is room for some shards.
const MOUNT: &str = r#"mount -t tmpfs -o size=76m tmpfs "$0" && exec "$@""#;

/// A command in a mount namespace: as root at once, as anybody else through a user namespace.
fn unshared() -> Command {
    let mut command = Command::new("unshare");
    let as_root =
        Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success());
    if !as_root {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--mount");
    command
}

/// Somebody else writes until nothing fits any more.
fn fill(disk: &Path, name: &str) -> PathBuf {
    let path = disk.join(name);
    let mut file = File::create(&path).unwrap();
    for step in [1 << 20, 4096, 1] {
        let bytes = vec![7; step];
        loop {
            match file.write_all(&bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    path
}

#[test]
fn a_node_on_a_full_disk_serves_deletes_restarts_and_takes_puts_again() {
    if let Ok(disk) = std::env::var(DISK) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(on_a_small_disk(Path::new(&disk)));
    }
    let disk = tempfile::tempdir().unwrap();
    let output = unshared()
        .args(["sh", "-c", MOUNT])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args(["full::a_node_on_a_full_disk_serves_deletes_restarts_and_takes_puts_again", "--exact"])
        .env(DISK, disk.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn on_a_small_disk(disk: &Path) {
    let cluster = Cluster::new().await;
    let start = || cluster.start_with(|raw| raw.data_dir = disk.join("data"));
    let node = start().await;
    let mut client = cluster.client(&node).await;
    let contents: Vec<Vec<u8>> = (0..4).map(|salt| bytes(1_000_000, salt)).collect();
    for content in &contents {
        cluster.put(&mut client, node.id(), content).await.unwrap();
    }
    let mut others = vec![fill(disk, "first")];

    // Refused with a word; the rest goes on, deletes too.
    let more = bytes(1_000_000, 9);
    refused(cluster.put(&mut client, node.id(), &more).await, ErrorCode::Exhausted, "available");
    assert_eq!(get(&mut client, shard_of(&contents[0]), None).await.unwrap().whole(), contents[0]);
    let mut auditor = cluster.auditor(&node).await;
    let removal = |content: &[u8]| {
        let grant = cluster.grant(node.id(), Operation::Delete, content);
        holdfast_types::Grant { fence: Fence { epoch: 1, counter: 1 }, ..grant }.sign(&cluster.auditor_key)
    };
    assert!(delete(&mut auditor, &removal(&contents[3])).await.unwrap());
    node.stop().await.unwrap();

    // What the node gave up for the deletion goes, too. It starts nevertheless.
    others.push(fill(disk, "second"));
    let node = start().await;
    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    assert_eq!(list(&mut auditor).await.len(), 3, "what was deleted on a full disk stays deleted");
    for content in &contents[..3] {
        assert_eq!(get(&mut client, shard_of(content), None).await.unwrap().whole(), *content);
    }
    refused(cluster.put(&mut client, node.id(), &more).await, ErrorCode::Exhausted, "available");

    others.into_iter().for_each(|path| std::fs::remove_file(path).unwrap());
    cluster.put(&mut client, node.id(), &more).await.unwrap();
    assert_eq!(get(&mut client, shard_of(&more), None).await.unwrap().whole(), more);
    node.stop().await.unwrap();
}
