//! What a client makes of its objects: frames, segments that small objects share, shards, and what a hostile one makes of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_dispersal::{
    Description, Encoder, Envelope, ObjectKey, OwnerKey, PlacementSecret, RunSalt, Sealer, SegmentBinding,
    SegmentCutter, SegmentError, Signed,
};
use holdfast_protocol::upload::{ObjectSpec, SegmentSpec};
use holdfast_types::{FRAME_LEN, Root, SegmentId, ShardId};

use crate::{client::Plain, message::Peer, plan::Hostile, world::World};

/// A segment takes another frame while it is shorter than half a MiB.
const SEGMENT_LEN: u64 = FRAME_LEN + FRAME_LEN / 2;

/// Objects, the segments that they lie in with their shards, and what their owner remembers.
type Sealed = (Vec<ObjectSpec>, BTreeMap<SegmentId, (SegmentSpec, Vec<Bytes>)>, Vec<Plain>);

impl World {
    pub(crate) fn seal(&mut self, owner: usize, hostile: Option<Hostile>) -> Result<Sealed, String> {
        let key = self.owner(owner);
        let mut cutter = SegmentCutter::new(SEGMENT_LEN);
        let (mut objects, mut plains, mut segments) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (mut sealed, mut staged) = (0, 0);
        let count = self.chance.within(1..4) as u32;
        for number in 0..count {
            let len = match self.chance.below(16) {
                0 | 1 => 0,
                2 | 3 => 1,
                4 | 5 => self.chance.below(2_000),
                // Two frames: each may come to lie in a segment of its own.
                6 => self.chance.within(FRAME_LEN - 2..FRAME_LEN + 120_000),
                _ => self.chance.within(2_000..320_000),
            };
            let bytes = if self.chance.per_mille(200) { vec![7; len as usize] } else { self.chance.fill(len as usize) };
            let object_key = ObjectKey::from_bytes(self.chance.bytes());
            let mut sealer =
                Sealer::new(object_key.clone(), RunSalt(self.chance.bytes())).map_err(|error| error.to_string())?;
            let mut frames = sealer.push(&bytes).map_err(|error| error.to_string())?;
            let object = sealer.finish(Description::default()).map_err(|error| error.to_string())?;
            frames.push(object.frame.clone());
            let last = frames.len();
            for (at, frame) in frames.into_iter().enumerate() {
                let cut = cutter.push(number, frame.stream_offset, &frame.bytes);
                let flush = (number + 1 == count && at + 1 == last) || self.chance.per_mille(400);
                for segment in cut.into_iter().chain(if flush { cutter.flush() } else { None }) {
                    let (id, spec, shards) =
                        self.encode(&key, segment.bytes, staged, hostile).map_err(|error| error.to_string())?;
                    staged += spec.len;
                    segments.insert(id, (spec, shards));
                }
            }
            let id = object.object_id();
            let envelope = Envelope {
                version: 1,
                object: id,
                owner: key.owner_id(),
                key: key.wrap_object_key(&id, &object_key),
                policy: "sim".into(),
                code: self.plan.code,
                retain_until: None,
                created: self.wall_of(Peer::Client(0)),
                names: vec![format!("object {number}")],
            };
            let sealed_len = object.manifest.sealed_len();
            objects.push(ObjectSpec {
                manifest: object.manifest.bytes().to_vec(),
                envelope: Signed::sign(envelope, &key.signing()).map_err(|error| error.to_string())?.bytes().to_vec(),
                offset: sealed,
                sealed_len,
                plain_len: len,
                pages: object.pages.into_iter().map(|page| page.bytes).collect(),
            });
            sealed += sealed_len;
            plains.push(Plain { id, bytes });
        }
        Ok((objects, segments, plains))
    }

    fn encode(
        &mut self,
        key: &OwnerKey,
        bytes: Vec<u8>,
        offset: u64,
        hostile: Option<Hostile>,
    ) -> Result<(SegmentId, SegmentSpec, Vec<Bytes>), SegmentError> {
        let (id, secret) = (SegmentId(self.chance.bytes()), PlacementSecret::from_bytes(self.chance.bytes()));
        let (len, code) = (bytes.len() as u64, self.plan.code);
        let encoded = Encoder::new(code).encode(bytes, &secret)?;
        let binding = SegmentBinding { owner: key.owner_id(), root: encoded.root, code };
        let mut names = encoded.shard_ids();
        let mut shards: Vec<Bytes> = encoded.shards.into_iter().map(|shard| shard.bytes).collect();
        let mut told = secret.clone();
        match hostile {
            Some(Hostile::Undecodable) => {
                let last = shards.len() - 1;
                shards[last] = self.chance.fill(shards[last].len()).into();
                names[last] = ShardId(Root::of(&shards[last]));
            }
            Some(Hostile::WrongSecret) => told = PlacementSecret::from_bytes(self.chance.bytes()),
            Some(Hostile::WrongWitness) | None => {}
            Some(Hostile::EqualShards) => {
                shards[1] = shards[0].clone();
                names[1] = names[0];
            }
        }
        let named: Vec<(ShardId, Bytes)> = names.iter().copied().zip(shards.iter().cloned()).collect();
        self.vouch(id, &named, hostile == Some(Hostile::WrongWitness));
        let entropy = holdfast_types::Seed(self.chance.bytes());
        let wrap = self.auditor.recovery.public().wrap(&binding, &told, entropy);
        let spec = SegmentSpec {
            id,
            offset,
            root: encoded.root,
            len,
            shard_len: encoded.geometry.shard_len(),
            shards: names,
            secret_for_owner: key.wrap_placement(&binding, &secret).0.to_vec(),
            secret_for_recovery: wrap.map(|wrap| wrap.to_bytes().to_vec()).unwrap_or_default(),
        };
        Ok((id, spec, shards))
    }
}
