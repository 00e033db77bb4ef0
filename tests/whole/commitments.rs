//! Who computes commitments, and what `status` and `stat` say of it.

use std::fs;

use holdfast_tests::{Cluster, home, noise, turn, wait_for};
use serde_json::Value;

/// The words that `stat --json` has for an object's shards.
fn commitments(cluster: &Cluster, object: &str) -> Vec<String> {
    let stat = cluster.run(&["stat", object, "--json"]).json();
    let segments = stat["segments"].as_array().unwrap().clone();
    let shards = segments.iter().flat_map(|segment| segment["shards"].as_array().unwrap().clone());
    shards.map(|shard| shard["commitments"].as_str().unwrap().to_owned()).collect()
}

fn put(cluster: &Cluster, words: &[&str]) -> (String, Value) {
    let put = cluster.run(&[&["put", "--json"], words].concat());
    assert!(put.ok, "{put:?}");
    let told = put.json();
    (told["objects"][0]["object"].as_str().unwrap().to_owned(), told)
}

#[test]
fn commitments_come_at_once_or_later_and_the_words_say_by_whom() {
    let _turn = turn();
    let home = home();
    let cluster = Cluster::up(&home.path().join("c"), &["--nodes", "6", "--zones", "3", "--policy", "3+2"]);
    let path = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    let (now, later) = (path("now"), path("later"));
    fs::write(&now, noise(3_000_017, 5)).unwrap();
    fs::write(&later, noise(2_000_017, 6)).unwrap();

    let (object, told) = put(&cluster, &["--commit=now", &now]);
    // 3 data and 2 parity shards of a little more than the file.
    assert!(told["committed_bytes"].as_u64().unwrap() > 5_000_000, "{told}");
    assert!(told["commit_seconds"].as_f64().unwrap() > 0.0, "{told}");
    assert_eq!(commitments(&cluster, &object), vec!["client-witness"; 5]);
    let status = cluster.run(&["status", "--json"]).json();
    assert_eq!(status["commitments"]["pending_shards"], 0, "{status}");
    assert_eq!(status["commitments"]["accepted"]["client_witness"], 5, "{status}");
    assert_eq!(status["commitments"]["accepted"]["auditor_read"], 0, "{status}");

    // What the client claimed is what the nodes prove: folds of every byte, against its lists.
    let audit = cluster.run(&["audit", "run", "--json"]);
    assert!(audit.ok, "{audit:?}");

    let (object, told) = put(&cluster, &[&later]);
    assert_eq!(told["committed_bytes"], 0);
    wait_for("the nodes to commit and the witnesses to speak", || {
        commitments(&cluster, &object).iter().all(|word| word == "client-witness").then_some(())
    });
    let status = cluster.run(&["status", "--json"]).json();
    assert_eq!(status["commitments"]["pending_shards"], 0, "{status}");
    assert_eq!(status["commitments"]["accepted"]["client_witness"], 10, "{status}");
    let nodes = cluster.run(&["node", "ls", "--json"]).json();
    for node in nodes["nodes"].as_array().unwrap() {
        assert_eq!((&node["backlog"]["shards"], &node["backlog"]["bytes"]), (&0.into(), &0.into()), "{node}");
    }
    let out = path("out");
    assert!(cluster.run(&["get", &object, &out]).ok);
    assert!(fs::read(&out).unwrap() == noise(2_000_017, 6));
    cluster.stop();
}

#[test]
fn what_a_node_owes_is_shown_in_shards_bytes_and_time_until_it_is_paid() {
    let _turn = turn();
    let home = home();
    let dir = home.path().join("c");
    let words = ["--nodes", "6", "--zones", "3", "--policy", "3+2"];
    // Laid out once, to be told that nobody commits.
    Cluster::up(&dir, &words).stop();
    let mut changed = 0;
    for entry in fs::read_dir(dir.join("nodes")).unwrap() {
        let config = entry.unwrap().path().join("node.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("cpu_share = 0.5", "cpu_share = 0.0")).unwrap();
        changed += 1;
    }
    assert_eq!(changed, 6);
    let cluster = Cluster::up(&dir, &words);
    let file = home.path().join("file").to_string_lossy().into_owned();
    fs::write(&file, noise(3_000_017, 7)).unwrap();
    let (object, _) = put(&cluster, &[&file]);
    let stat = cluster.run(&["stat", &object, "--json"]).json();
    let (shard_bytes, holder) = (&stat["segments"][0]["shard_bytes"], stat["segments"][0]["shards"][0]["node"].clone());
    let owing = cluster.run(&["node", "ls", "--json"]).json();
    let of = |told: &Value| told["nodes"].as_array().unwrap().iter().find(|it| it["node"] == holder).unwrap().clone();
    let backlog = of(&owing)["backlog"].clone();
    assert_eq!((&backlog["shards"], &backlog["bytes"]), (&1.into(), shard_bytes), "{owing}");
    assert!(backlog["core_ms"].as_u64().unwrap() > 0, "{owing}");
    let shown = cluster.run(&["node", "show", holder.as_str().unwrap()]);
    assert!(shown.out.contains("1 shard, ") && shown.out.contains("of one core pending"), "{shown:?}");
    let shown = cluster.run(&["node", "show", holder.as_str().unwrap(), "--json"]).json();
    assert_eq!((&shown["holding"]["pending_bytes"], &shown["backlog"]), (shard_bytes, &backlog));
    // Past the deadline the auditor reads it itself.
    wait_for("the auditor to read what is overdue", || {
        commitments(&cluster, &object).iter().all(|word| word == "auditor-read").then_some(())
    });
    assert_eq!(of(&cluster.run(&["node", "ls", "--json"]).json())["backlog"]["shards"], 0);
    cluster.stop();
}
