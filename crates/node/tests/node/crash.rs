//! A node in a process of its own, killed while it stores.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use holdfast_node::{Checked, Running, identity};
use holdfast_transport::Subject;
use holdfast_types::{NodeId, Operation};

use crate::cluster::*;

const CONFIG: &str = "HOLDFAST_TEST_NODE_CONFIG";
const LISTENING: &str = "listening on ";

/// Not a test of its own: what the child process runs. Without a configuration there is nothing to do.
#[test]
fn child() {
    let Some(config) = env::var_os(CONFIG) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = Running::start(Checked::load(Path::new(&config)).unwrap()).await.unwrap();
        println!("\n{LISTENING}{}", node.addresses()[0]);
        std::future::pending::<()>().await;
    });
}

fn spawn(config: &Path) -> (Child, String) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture"])
        .env(CONFIG, config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix(LISTENING).map(str::to_owned));
    (child, address.expect("the child listens"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_kill_nine_and_nothing_is_half() {
    let cluster = Arc::new(Cluster::new().await);
    let config = cluster.config_file();
    let key = identity::load_or_create(&cluster.path().join("node.key"), Path::new("/nowhere")).unwrap();
    let id: NodeId = key.public().node_id();
    let acknowledged: Arc<Mutex<Vec<(holdfast_types::Sequence, u8, u8)>>> = Arc::default();

    for round in 0..3u8 {
        let (mut child, address) = spawn(&config);
        let dead = Arc::new(AtomicBool::new(false));
        let channel = cluster.dial(&Subject::Client(cluster.owner()), id, &address).await;
        let writers: Vec<_> = (0..4u8)
            .map(|writer| {
                let (cluster, acknowledged, dead) = (cluster.clone(), acknowledged.clone(), dead.clone());
                let mut client = stub(channel.clone());
                tokio::spawn(async move {
                    for number in 0..60u8 {
                        let content = content(round, writer * 60 + number);
                        let grant = cluster.grant(id, Operation::Put, &content).sign(&cluster.auditor_key);
                        match put(&mut client, &grant, false, &content).await {
                            Ok(receipt) => {
                                acknowledged.lock().unwrap().push((receipt.sequence, round, writer * 60 + number));
                            }
                            Err(error) => return assert!(dead.load(Ordering::SeqCst), "refused while alive: {error}"),
                        }
                    }
                })
            })
            .collect();
        let goal = acknowledged.lock().unwrap().len() + 20;
        eventually("some puts are acknowledged", async || acknowledged.lock().unwrap().len() >= goal).await;
        dead.store(true, Ordering::SeqCst);
        child.kill().unwrap();
        child.wait().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
    }

    let (mut child, address) = spawn(&config);
    let mut auditor = stub(cluster.dial(&auditor_subject(), id, &address).await);
    let listed = list(&mut auditor).await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 60);
    for (sequence, round, number) in acknowledged {
        let content = content(round, number);
        let entry = listed.iter().find(|entry| entry.sequence == sequence).expect("acknowledged and listed");
        assert_eq!((entry.shard, entry.len), (shard_of(&content), content.len() as u64));
        assert_eq!(get(&mut auditor, entry.shard, None).await.unwrap().whole(), content);
    }
    // What was not acknowledged may be there, but then it is whole.
    for entry in &listed {
        assert_eq!(shard_of(&get(&mut auditor, entry.shard, None).await.unwrap().whole()), entry.shard);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn content(round: u8, number: u8) -> Vec<u8> {
    let mut content = bytes(20_000 + 997 * usize::from(number), number);
    content[0] = round;
    content
}
