//! Tells the auditor that the node is there, until it listens, and again from time to time. The node serves whether
//! or not the auditor answers; only grants need its key, which is pinned at the first registration.

use std::{sync::Arc, time::Duration};

use holdfast_transport::{Address, Dialer, Expected, PeerName, Subject};
use holdfast_types::{PublicKey, ZoneName};
use holdfast_wire::{
    MESSAGE_LEN_MAX, WireError,
    convert::{Registered, Registration},
    pb::auditor::v1::registry_service_client::RegistryServiceClient,
};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::{content::META_AUDITOR, state::State, state::wall};

/// Between two attempts while the auditor has not answered; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
/// An auditor that comes back is found within this.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Between two registrations that were accepted: an auditor restored from a backup learns of us again.
const AGAIN: Duration = Duration::from_secs(300);
/// One attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// What is told.
pub(crate) struct Announcement {
    pub(crate) auditor: PeerName,
    pub(crate) auditor_addresses: Vec<Address>,
    pub(crate) addresses: Vec<String>,
    pub(crate) zone: ZoneName,
    pub(crate) operator: String,
    pub(crate) tls_key_digest: [u8; 32],
}

/// Registers for as long as the node runs.
pub(crate) async fn keep_registered(state: Arc<State>, dialer: Dialer, announcement: Announcement) {
    let (mut pause, mut known) = (RETRY_MIN, false);
    loop {
        let attempt = timeout(ATTEMPT_MAX, register(&state, &dialer, &announcement)).await;
        match attempt.unwrap_or_else(|_| Err(format!("no answer within {ATTEMPT_MAX:?}"))) {
            Ok(registered) => {
                if !known {
                    info!(cluster = %registered.cluster, life = ?registered.life, auditor = %announcement.auditor, "registered");
                }
                (pause, known) = (RETRY_MIN, true);
                sleep(AGAIN).await;
            }
            Err(why) => {
                // Once is news, each further time is noise.
                if pause == RETRY_MIN {
                    warn!(auditor = %announcement.auditor, %why, "not registered; trying again");
                } else {
                    debug!(auditor = %announcement.auditor, %why, "not registered; trying again");
                }
                known = false;
                sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

async fn register(state: &State, dialer: &Dialer, announcement: &Announcement) -> Result<Registered, String> {
    let auditor = Expected::Subject(Subject::Auditor(announcement.auditor.clone()));
    let channel = dialer.connect(auditor, &announcement.auditor_addresses).await.map_err(|error| error.to_string())?;
    let mut client = RegistryServiceClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX);
    let registration = Registration {
        key: state.key.public(),
        volume: state.volume,
        incarnation: state.incarnation,
        addresses: announcement.addresses.clone(),
        zone: announcement.zone.clone(),
        operator: announcement.operator.clone(),
        capacity: state.capacity,
        tls_key_digest: announcement.tls_key_digest,
        wall: wall(),
        fence: state.fence(),
    };
    let reply = client.register_node(registration.sign(&state.key)).await;
    let reply = reply.map_err(|status| WireError::from(status).to_string())?.into_inner();
    let registered = Registered::try_from(reply).map_err(|error| error.to_string())?;
    pin(state, registered.auditor).await?;
    Ok(registered)
}

/// The first key is kept, durably, before any grant is judged by it; another one later is refused: whoever got hold of
/// an auditor's certificate must not be able to have everything deleted.
async fn pin(state: &State, key: PublicKey) -> Result<(), String> {
    match state.auditor.get() {
        Some(pinned) if *pinned == key => Ok(()),
        Some(pinned) => {
            error!(%pinned, got = %key, "the auditor has another key than the one pinned");
            Err(format!(
                "expected the auditor with key {pinned}, got one with key {key}; find out which is the cluster's"
            ))
        }
        None => {
            state.writer.meta(META_AUDITOR, key.0.to_vec()).await.map_err(|error| error.to_string())?;
            // Only this task sets it.
            let _ = state.auditor.set(key);
            Ok(())
        }
    }
}
