//! The catalog in SQLite keeps the promises that every store must keep.

use holdfast_auditor::store::SqliteStore;
use holdfast_protocol::store::{Store, StoreOp, StoreReply, contract};
use tempfile::TempDir;
use tokio::runtime::Runtime;

struct Blocking {
    runtime: Runtime,
    home: TempDir,
    store: Option<SqliteStore>,
}

impl Blocking {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let home = TempDir::new().expect("a directory");
        let mut this = Self { runtime, home, store: None };
        this.open();
        this
    }

    fn open(&mut self) {
        let path = self.home.path().join("catalog.sqlite");
        self.store = Some(self.runtime.block_on(SqliteStore::open(&path)).expect("a catalog"));
    }
}

impl Store for Blocking {
    fn apply(&mut self, op: StoreOp) -> StoreReply {
        let store = self.store.as_ref().expect("open");
        self.runtime.block_on(store.apply(op))
    }

    fn reopen(&mut self) {
        if let Some(store) = self.store.take() {
            self.runtime.block_on(store.close());
        }
        self.open();
    }
}

#[test]
fn sqlite_keeps_the_promises_of_a_store() {
    contract::run(Blocking::new);
}
