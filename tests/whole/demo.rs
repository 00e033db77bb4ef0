//! The demonstration is what it says it is.

use std::process::Command;

use holdfast_tests::{binary, home, turn};
use serde_json::Value;

/// Bytes of a shard behind one commitment.
const BLOB: u64 = 126_976;

fn verdict<'a>(report: &'a Value, node: &Value) -> &'a Value {
    let verdicts = report["verdicts"].as_array().expect("verdicts");
    verdicts
        .iter()
        .find(|verdict| verdict["node"] == *node)
        .unwrap_or_else(|| panic!("no verdict on {node}: {report:#}"))
}

#[test]
fn the_demo_catches_every_fault_heals_it_and_reads_the_file_back() {
    let _turn = turn();
    let home = home();
    let output = Command::new(binary())
        .args(["demo", "--json", "--size", "8MiB", "--seed", "7"])
        .env("TMPDIR", home.path())
        .output()
        .expect("the binary starts");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_str(out.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}\n{out}\n{err}"));
    assert!(output.status.success() && report["ok"] == true, "{report:#}\n{err}");
    assert_eq!(report["bytes"], 8 << 20);
    assert_eq!(report["policy"], serde_json::json!({ "data": 8, "parity": 4 }));
    assert_eq!(report["nodes"], 16);
    assert_eq!(report["identical"], true);
    assert_eq!(report["after"]["worst"], serde_json::json!({ "shards_held": 12, "spare": 4 }));

    let faults = report["faults"].as_array().expect("faults");
    let fault = |kind: &str| faults.iter().find(|fault| fault["kind"] == kind).expect("one fault of each kind");
    let flip = fault("flip");
    let caught = verdict(&report, &flip["node"]);
    assert_eq!(caught["shard"], flip["shard"]);
    assert_eq!(caught["outcome"], "corrupt");
    let (from, to) = (caught["range"][0].as_u64().unwrap(), caught["range"][1].as_u64().unwrap());
    let offset = flip["offset"].as_u64().unwrap();
    assert!(from <= offset && offset < to, "{offset} is not in {from}..{to}");
    assert!(to - from <= 2 * BLOB, "{from}..{to} is wider than two blobs");
    let wiped = verdict(&report, &fault("wipe")["node"]);
    assert!(["missing", "corrupt"].contains(&wiped["outcome"].as_str().unwrap()), "{wiped}");
    let killed = verdict(&report, &fault("kill")["node"]);
    assert!(["unreachable", "late"].contains(&killed["outcome"].as_str().unwrap()), "{killed}");

    // Every shard with a verdict was put right, and nothing went to the dead.
    let repairs = report["repairs"].as_array().expect("repairs");
    for verdict in report["verdicts"].as_array().expect("verdicts") {
        let repaired = repairs.iter().any(|repair| repair["shard"] == verdict["shard"]);
        assert!(repaired, "{verdict} was not repaired: {report:#}");
    }
    assert!(repairs.iter().all(|repair| repair["to"] != fault("kill")["node"]), "{report:#}");
}

#[test]
fn a_demo_that_cannot_begin_says_so_in_json_too() {
    let _turn = turn();
    let output =
        Command::new(binary()).args(["demo", "--json", "/nowhere/at/all"]).output().expect("the binary starts");
    let out = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).expect("JSON");
    assert!(!output.status.success());
    assert_eq!(report["ok"], false);
    assert!(report["error"].as_str().unwrap().contains("/nowhere/at/all"), "{report}");
}
