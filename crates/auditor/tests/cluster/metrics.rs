//! What an operator's scraper reads of an auditor, over a real socket, while a real cluster works.

use std::collections::BTreeMap;

use holdfast_types::BLOB_LEN;

use crate::cluster::{Cluster, eventually, impatient, noise};

/// A number that is there from the first walk of the catalog on.
fn value(page: &BTreeMap<String, f64>, name: &str) -> Option<f64> {
    page.get(name).copied()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_moves_with_objects_verdicts_damage_and_repairs() {
    let cluster = Cluster::start(5, impatient()).await;
    let before = eventually("the catalog is walked", async || {
        let page = cluster.scrape().await;
        (value(&page, "holdfast_auditor_nodes{state=\"active\"}")?
            + value(&page, "holdfast_auditor_nodes{state=\"joining\"}")?
            == 5.0)
            .then_some(page)
    })
    .await;
    assert_eq!(value(&before, "holdfast_auditor_objects"), Some(0.0));
    let content = noise(41, 400_000);
    let object = cluster.put(&content).await;
    cluster.committed().await;
    cluster.all_held(object, cluster.newest().await).await;
    let page = eventually("the object is counted", async || {
        let page = cluster.scrape().await;
        (value(&page, "holdfast_auditor_objects") == Some(1.0)
            && value(&page, "holdfast_auditor_pending_shards") == Some(0.0)
            && value(&page, "holdfast_auditor_oldest_verdict_seconds")? > 0.0)
            .then_some(page)
    })
    .await;
    assert_eq!(value(&page, "holdfast_auditor_plain_bytes"), Some(400_000.0));
    assert_eq!(value(&page, "holdfast_auditor_segments{spare=\"2\"}"), Some(1.0));
    all_documented(&page);
    let accepted =
        |by: &str| value(&page, &format!("holdfast_auditor_accepted_shards{{provenance=\"{by}\"}}")).unwrap();
    assert_eq!(accepted("client-witness") + accepted("auditor-read"), 4.0);
    assert!(value(&page, "holdfast_auditor_verdicts_total{lane=\"fold\",outcome=\"held\"}").unwrap() >= 4.0);
    assert_eq!(value(&page, "holdfast_auditor_shards_not_held_total{outcome=\"corrupt\"}"), Some(0.0));
    assert_eq!(value(&page, "holdfast_auditor_repairs_total{state=\"done\"}"), Some(0.0));

    let segment = cluster.segment(object).await;
    cluster.by_id(segment.shards[0].node).lose(segment.shards[0].shard, segment.shard_len, BLOB_LEN / 2, 16);
    let page = eventually("damage and repair are counted", async || {
        let page = cluster.scrape().await;
        (value(&page, "holdfast_auditor_repairs_total{state=\"done\"}")? >= 1.0).then_some(page)
    })
    .await;
    assert!(value(&page, "holdfast_auditor_shards_not_held_total{outcome=\"corrupt\"}").unwrap() >= 1.0);
    assert!(value(&page, "holdfast_auditor_repaired_bytes_total").unwrap() > 0.0);
    cluster.stop().await;
}

/// Whoever reads the page finds each of its names in the documentation.
fn all_documented(page: &BTreeMap<String, f64>) {
    let documented = include_str!("../../../../docs/metrics.md");
    for name in page.keys() {
        let name = name.split('{').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
}
