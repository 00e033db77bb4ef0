//! The client: one owner's way into one cluster.

use std::path::PathBuf;

use holdfast_dispersal::{Envelope, Manifest, ObjectKey, OwnerKey, Signed, Tombstone};
use holdfast_transport::{Dialer, Subject, TlsMaterial};
use holdfast_types::{ObjectId, OwnerId};
use holdfast_wire::{
    ErrorCode,
    convert::{ObjectRecords, ObjectSummary},
};

use crate::{Auditor, ClientConfig, ClientError, Links, OwnerKeyFile, clock};

/// One owner's way into one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) auditor: Auditor,
    pub(crate) links: Links,
    pub(crate) owner: OwnerKey,
    pub(crate) owner_id: OwnerId,
    pub(crate) cluster: String,
    pub(crate) policy: String,
    pub(crate) state_dir: PathBuf,
}

/// An object's records, verified and opened.
pub(crate) struct OpenedObject {
    pub(crate) id: ObjectId,
    pub(crate) summary: ObjectSummary,
    pub(crate) manifest: Manifest,
    pub(crate) envelope: Signed<Envelope>,
    pub(crate) key: ObjectKey,
}

impl Client {
    /// Reads key and certificates, and connects to the auditor.
    ///
    /// # Errors
    /// What is wrong with the files, or with the connection.
    pub async fn connect(config: &ClientConfig) -> Result<Self, ClientError> {
        let owner = OwnerKeyFile::load(&config.owner_key)?;
        let tls = &config.tls;
        let material = TlsMaterial::load_files(&tls.ca, &tls.cert, &tls.key, clock::wall())?;
        let owner_id = owner.owner_id();
        // The auditor goes by the certificate, the seal by the key: apart, everything stored would be lost.
        if *material.subject() != Subject::Client(owner_id) {
            return Err(ClientError::OtherOwner { key: owner_id, certificate: material.subject().to_string() });
        }
        let cluster = material.cluster().to_string();
        let dialer = Dialer::new(material);
        let auditor = Auditor::connect(&dialer, &config.auditors).await?;
        let (policy, state_dir) = (config.policy.clone(), config.state_dir.clone());
        Ok(Self { auditor, links: Links::new(dialer), owner, owner_id, cluster, policy, state_dir })
    }

    /// Whose client it is.
    pub const fn owner(&self) -> OwnerId {
        self.owner_id
    }

    /// The cluster it is connected to, as its certificate says.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The auditor, for everything but put and get.
    pub const fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// All of the owner's objects, in order of id.
    pub async fn list(&self) -> Result<Vec<ObjectSummary>, ClientError> {
        self.auditor.objects().await
    }

    /// Deletes an object: a durable intent; its shards and records follow. Gives whether it was there; that it was not is
    /// no error, for whoever asks twice.
    ///
    /// The owner signs a tombstone for it, which the nodes keep until none of them can have a record of the object any more.
    ///
    /// # Errors
    /// What the auditor says.
    pub async fn remove(&self, object: ObjectId) -> Result<bool, ClientError> {
        let version = match self.auditor.object(object).await {
            // One that does not read back is of no version: any tombstone outranks it.
            Ok(records) => Envelope::decode(&records.envelope).map_or(1, |envelope| envelope.body().version),
            Err(ClientError::Said { error, .. }) if error.code == ErrorCode::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let tombstone = Tombstone { version, object, owner: self.owner_id, deleted: clock::wall() };
        let signed = Signed::sign(tombstone, &self.owner.signing())?;
        self.auditor.delete_object(object, signed.bytes()).await.map(|()| true)
    }

    /// Fetches an object's records, and opens them with the owner's key.
    pub(crate) async fn open_object(&self, id: ObjectId) -> Result<OpenedObject, ClientError> {
        let ObjectRecords { summary, manifest, envelope } = self.auditor.object(id).await?;
        let manifest = Manifest::decode_as(&id, &manifest)?;
        let envelope = Envelope::decode(&envelope)?;
        // An envelope that its own signer made for another object or owner is valid in itself.
        let body = envelope.body();
        if body.object != id || body.owner != self.owner_id {
            let why = format!("expected the envelope of {id} by {}, got that of {}", self.owner_id, body.object);
            return Err(ClientError::malformed("GetObject", why));
        }
        let key = self.owner.unwrap_object_key(&id, &body.key)?;
        Ok(OpenedObject { id, summary, manifest, envelope, key })
    }
}
