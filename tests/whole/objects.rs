//! Objects go in and come out, whole and in parts, and mistakes are told.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use holdfast_tests::{Cluster, binary, home, noise, turn, wait_for};
use serde_json::{Value, json};

#[test]
fn objects_go_in_come_out_and_go_away() {
    let _turn = turn();
    let home = home();
    let cluster = Cluster::up(&home.path().join("c"), &["--nodes", "6", "--zones", "3", "--policy", "3+2"]);
    let path = |name: &str| home.path().join(name).to_string_lossy().into_owned();

    // Sizes around every boundary that a reader of the formats would try.
    let sizes = [0, 1, 1023, 1024, 1025, 126_975, 126_976, 126_977, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_017];
    let mut files = Vec::new();
    for size in sizes {
        let file = path(&format!("f{size}"));
        fs::write(&file, noise(size, size as u64 + 1)).unwrap();
        files.push(file);
    }
    let mut words = vec!["put", "--json"];
    words.extend(files.iter().map(String::as_str));
    let put = cluster.run(&words);
    assert!(put.ok, "{put:?}");
    let objects: Vec<String> =
        put.json()["objects"].as_array().unwrap().iter().map(|it| it["object"].as_str().unwrap().to_owned()).collect();
    assert_eq!(objects.len(), sizes.len());
    for (object, size) in objects.iter().zip(sizes) {
        let out = path("out");
        let got = cluster.run(&["get", object, &out, "--force", "--json"]);
        assert!(got.ok, "{size}: {got:?}");
        assert!(fs::read(&out).unwrap() == noise(size, size as u64 + 1), "{size} bytes came out differently");
    }

    // A range, to standard output.
    let whole = noise(3_000_017, 3_000_018);
    let part = cluster.command(&["get", objects.last().unwrap(), "-", "--range", "1048000..1049000"]).output().unwrap();
    assert!(part.status.success(), "{}", String::from_utf8_lossy(&part.stderr));
    assert!(part.stdout == whole[1_048_000..1_049_000]);

    // From standard input.
    let mut child =
        cluster.command(&["put", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"said into a pipe").unwrap();
    let piped = child.wait_with_output().unwrap();
    assert!(piped.status.success());

    // An audit that nobody had the time to answer is no success.
    let audit = cluster.run(&["audit", "run", "--wait", "0", "--json"]);
    let told = audit.json();
    assert!(!audit.ok && told["ok"] == false, "{audit:?}");
    assert!(!told["without_verdict"].as_array().unwrap().is_empty(), "{told}");

    let listed = cluster.run(&["ls", "--json"]).json();
    assert_eq!((listed["objects"].as_array().unwrap().len(), &listed["ok"]), (sizes.len() + 1, &Value::Bool(true)));
    for object in &objects {
        let gone = cluster.run(&["rm", object]);
        assert!(gone.ok, "{gone:?}");
    }
    // One that is gone keeps nobody, and is no success.
    let piped: Value = serde_json::from_slice(&piped.stdout).unwrap();
    let last = piped["objects"][0]["object"].as_str().unwrap();
    let gone = cluster.run(&["rm", &objects[0], last, "--json"]);
    let told = gone.json();
    assert!(!gone.ok && told["ok"] == false, "{gone:?}");
    assert_eq!((&told["deleted"], &told["not_there"]), (&json!([last]), &json!([objects[0]])), "{told}");
    // Where an object's bytes go, nothing else goes.
    let gone = cluster.run(&["get", &objects[0], "-", "--json"]);
    let told: Value = serde_json::from_str(gone.err.lines().last().unwrap()).unwrap();
    assert!(!gone.ok && gone.out.is_empty() && told["ok"] == false, "{gone:?}");

    let gone = cluster.run(&["get", &objects[0], &path("never")]);
    assert!(!gone.ok && !gone.err.is_empty() && !home.path().join("never").exists(), "{gone:?}");
    // What nothing refers to any more leaves the nodes too.
    wait_for("the deletions to be carried out", || {
        let status = cluster.run(&["status", "--json"]).json();
        (status["deletions"] == 0 && status["objects"] == 0).then_some(())
    });
    cluster.stop();
}

#[test]
fn a_directory_goes_in_file_by_file_and_a_reader_that_leaves_makes_no_success() {
    let _turn = turn();
    let home = home();
    let cluster = Cluster::up(&home.path().join("c"), &["--nodes", "6", "--zones", "3", "--policy", "3+2"]);
    let dir = home.path().join("dir");
    fs::create_dir_all(dir.join("below")).unwrap();
    for n in 0..60 {
        fs::write(dir.join(format!("below/{n:02}")), noise(4096, n)).unwrap();
    }
    fs::write(dir.join("large"), noise(9_000_000, 99)).unwrap();
    let dir = dir.to_string_lossy().into_owned();
    let put = cluster.run(&["put", &dir]);
    assert!(put.ok, "{put:?}");
    // A line an object: its id first, its path in the directory last.
    let lines: Vec<Vec<&str>> = put.out.lines().map(|line| line.split("  ").collect()).collect();
    assert_eq!(lines.len(), 61, "{put:?}");
    let id = |name: &str| lines.iter().find(|words| words.last() == Some(&name)).unwrap()[0];
    let out = home.path().join("out").to_string_lossy().into_owned();
    for (name, bytes) in [("below/07", noise(4096, 7)), ("below/59", noise(4096, 59)), ("large", noise(9_000_000, 99))]
    {
        assert!(cluster.run(&["get", id(name), &out, "--force"]).ok);
        assert!(fs::read(&out).unwrap() == bytes, "{name} came out differently");
    }

    // One that is not there is named, fails the command, and keeps nobody.
    let first = format!("{dir}/below/00");
    let missing = format!("{dir}/missing");
    let put = cluster.run(&["put", "--json", &first, &missing]);
    let told = put.json();
    assert!(!put.ok && told["ok"] == false, "{put:?}");
    assert_eq!((told["objects"].as_array().unwrap().len(), told["failed"].as_array().unwrap().len()), (1, 1));
    assert!(told["failed"][0]["error"].as_str().unwrap().contains("missing"), "{told}");

    // More than a pipe holds, and nobody who takes it.
    let mut child = cluster.command(&["get", id("large"), "-"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(141), "as after SIGPIPE");
    cluster.stop();
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let _turn = turn();
    let home = home();
    let nowhere = Command::new(binary()).args(["ls", "--config", "/nowhere/client.toml"]).output().unwrap();
    let err = String::from_utf8_lossy(&nowhere.stderr);
    assert!(!nowhere.status.success() && err.contains("/nowhere/client.toml"), "{err}");

    let refused = Command::new(binary()).args(["ls", "--json", "--bogus"]).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stdout);
    let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((refused.status.code(), &told["ok"]), (Some(2), &Value::Bool(false)), "{told}");
    assert!(told["error"].as_str().unwrap().contains("--bogus"), "{told}");

    // A daemon's supervisor must not start it again and again on a configuration that cannot be run.
    for (verb, text) in [("auditor", "cluster = 7\n"), ("node", "capacity = \"many\"\n")] {
        let config = home.path().join(format!("{verb}.toml"));
        fs::write(&config, text).unwrap();
        let refused = Command::new(binary()).arg(verb).arg("--config").arg(&config).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }

    let dir = home.path().join("c");
    let narrow = Command::new(binary())
        .args(["up", "--nodes", "3", "--zones", "3", "--policy", "8+4", "--dir"])
        .arg(&dir)
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&narrow.stderr);
    assert!(!narrow.status.success() && err.contains("12"), "a policy of 12 shards on 3 nodes: {err}");
}
