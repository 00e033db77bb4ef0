//! kill -9, of everything.

use std::{fs, thread::sleep, time::Duration};

use holdfast_tests::{Cluster, home, noise, turn, wait_for};

fn whole(cluster: &Cluster) {
    wait_for("every segment to be whole", || {
        let said = cluster.run(&["status", "--json"]);
        if !said.ok {
            return None;
        }
        let status = said.json();
        (status["at_risk"] == 0 && status["pending_commitments"] == 0).then_some(())
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_everything_is_killed() {
    let _turn = turn();
    let home = home();
    let dir = home.path().join("c");
    let shape = ["--nodes", "6", "--zones", "3", "--policy", "3+2"];
    let cluster = Cluster::up(&dir, &shape);
    let file = home.path().join("a").to_string_lossy().into_owned();
    let bytes = noise(5_000_000, 42);
    fs::write(&file, &bytes).unwrap();
    let put = cluster.run(&["put", &file, "--json"]);
    assert!(put.ok, "{put:?}");
    let object = put.json()["objects"][0]["object"].as_str().unwrap().to_owned();

    // The supervisor, and with it every daemon at once.
    let cluster = Cluster::up(&cluster.stop_hard(), &[]);
    let out = home.path().join("out").to_string_lossy().into_owned();
    let got = cluster.run(&["get", &object, &out]);
    assert!(got.ok, "{got:?}");
    assert!(fs::read(&out).unwrap() == bytes);

    // Each daemon by itself; its supervisor starts it again.
    for config in ["auditor/auditor.toml", "nodes/n01/node.toml", "nodes/n04/node.toml"] {
        let before = cluster.pids(config);
        assert_eq!(cluster.kill(config), 1, "{config}");
        wait_for(config, || {
            let now = cluster.pids(config);
            (!now.is_empty() && now != before).then_some(())
        });
    }
    whole(&cluster);
    let listed = wait_for("the auditor to answer", || {
        let said = cluster.run(&["ls", "--json"]);
        said.ok.then(|| said.json())
    });
    assert_eq!(listed["objects"].as_array().unwrap().len(), 1);
    let got = cluster.run(&["get", &object, &out, "--force"]);
    assert!(got.ok && fs::read(&out).unwrap() == bytes, "{got:?}");
    cluster.stop();
}

#[test]
fn a_put_whose_client_auditor_or_node_is_killed_ends_well_when_asked_again() {
    let _turn = turn();
    let home = home();
    let cluster = Cluster::up(&home.path().join("c"), &["--nodes", "6", "--zones", "3", "--policy", "3+2"]);
    let file = home.path().join("big").to_string_lossy().into_owned();
    let bytes = noise(80 << 20, 77);
    fs::write(&file, &bytes).unwrap();
    for (round, victim) in ["client", "auditor/auditor.toml", "nodes/n02/node.toml"].into_iter().enumerate() {
        let mut putting = cluster.command(&["put", &file, "--json"]).spawn().unwrap();
        sleep(Duration::from_millis(400 + 500 * round as u64));
        if victim == "client" {
            let _ = putting.kill();
        } else {
            cluster.kill(victim);
        }
        let _ = putting.wait();
    }
    // Asked again until it is done: a put may fail while a daemon is away, but it must say so and be repeatable.
    let put = wait_for("the put to be done", || {
        let put = cluster.run(&["put", &file, "--json"]);
        put.ok.then_some(put)
    });
    let object = put.json()["objects"][0]["object"].as_str().unwrap().to_owned();
    let out = home.path().join("out").to_string_lossy().into_owned();
    let got = cluster.run(&["get", &object, &out]);
    assert!(got.ok && fs::read(&out).unwrap() == bytes, "{got:?}");
    cluster.stop();
}
