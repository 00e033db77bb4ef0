//! Repairs: what was lost and where it stands again.

use std::time::Duration;

use holdfast_protocol::model::RepairRow;
use holdfast_wire::pb::auditor::v1 as pb;
use tonic::Streaming;

use super::{Auditor, CALL_TIMEOUT, ask, failed, is_passing, patiently};
use crate::ClientError;

const WATCH_PAUSE: Duration = Duration::from_millis(500);
/// Two minutes, longer than any restart of an auditor.
const WATCH_TRIES_MAX: u32 = 240;

impl Auditor {
    /// The newest repairs, newest first; at most 1024.
    pub async fn repairs(&self, limit: u32) -> Result<Vec<RepairRow>, ClientError> {
        let reply = patiently(|| async {
            let mut stub = self.repairs.clone();
            ask("ListRepairs", CALL_TIMEOUT, stub.list_repairs(pb::ListRepairsRequest { limit })).await
        });
        Vec::<RepairRow>::try_from(reply.await?).map_err(ClientError::decode("ListRepairs"))
    }

    /// Repairs as they begin and end, from now on.
    pub fn watch_repairs(&self) -> RepairWatch {
        RepairWatch { auditor: self.clone(), stream: None }
    }
}

/// Repairs as they begin and end. What happens while the connection is lost is not told again:
/// [`Auditor::repairs`] lists it.
#[derive(Debug)]
pub struct RepairWatch {
    auditor: Auditor,
    stream: Option<Streaming<pb::WatchRepairsResponse>>,
}

impl RepairWatch {
    /// The next change, as long as it takes.
    ///
    /// # Errors
    /// What the auditor refuses for good, or that it was away for two minutes.
    pub async fn next(&mut self) -> Result<RepairRow, ClientError> {
        let mut tries = 0;
        loop {
            let error = match self.advance().await {
                Ok(Some(row)) => return Ok(row),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            self.stream = None;
            tries += 1;
            match error {
                Some(error) if !is_passing(&error) || tries >= WATCH_TRIES_MAX => return Err(error),
                None if tries >= WATCH_TRIES_MAX => {
                    return Err(ClientError::malformed("WatchRepairs", "expected repairs, got ended streams only"));
                }
                Some(_) | None => tokio::time::sleep(WATCH_PAUSE).await,
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<RepairRow>, ClientError> {
        let call = "WatchRepairs";
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let mut stub = self.auditor.repairs.clone();
                let request = pb::WatchRepairsRequest {};
                self.stream.insert(ask(call, CALL_TIMEOUT, stub.watch_repairs(request)).await?)
            }
        };
        let message = stream.message().await.map_err(|status| failed(call, &status))?;
        message.map(RepairRow::try_from).transpose().map_err(ClientError::decode(call))
    }
}
