//! Where the catalog lives. One trait-free choice today: SQLite, embedded. PostgreSQL comes with the
//! second auditor and passes the same contract suite.

mod sqlite;

pub use sqlite::{OpenError, SqliteStore};
