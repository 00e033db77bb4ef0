//! Compiles `proto/` with protox (no protoc needed) into prost messages, tonic services, and the descriptor set that
//! reflection serves and the snapshot guards.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 7] = [
    "holdfast/common/v1/common.proto",
    "holdfast/node/v1/node.proto",
    "holdfast/auditor/v1/object.proto",
    "holdfast/auditor/v1/registry.proto",
    "holdfast/auditor/v1/audit.proto",
    "holdfast/auditor/v1/repair.proto",
    "holdfast/auditor/v1/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut set = protox::Compiler::new([&root])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES.map(|file| root.join(file)))?
        .file_descriptor_set();
    tonic_prost_build::configure()
        // Shard bytes pass through without a copy.
        .bytes(".holdfast.node.v1.PutShardRequest.chunk")
        .bytes(".holdfast.node.v1.ShardPiece.bytes")
        .compile_fds(set.clone())?;
    // Comments served by reflection would be most of its bytes.
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptor.bin"), set.encode_to_vec())?;
    Ok(())
}
