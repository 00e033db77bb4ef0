//! Guards `proto/` against breaking changes.
//!
//! [`render`] turns the descriptors into lines, one a promise: this field has this number and this type, this method
//! streams this way. The lines are checked in as `proto/descriptor.snapshot`. [`compare`] says which promises are
//! gone or changed: deployed peers hold us to those. New lines are additions and free.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, field_descriptor_proto::Label,
};
use thiserror::Error;

/// The compiled descriptors are none.
#[derive(Debug, Error)]
#[error("expected a serialised FileDescriptorSet, got bytes that are none: {0}; build holdfast-wire again")]
pub struct DescriptorError(#[from] prost::DecodeError);

/// What differs between a snapshot and the present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Promises of the snapshot that are not kept: what was there, and what is there instead.
    pub broken: Vec<String>,
    /// New promises.
    pub added: Vec<String>,
}

impl Difference {
    /// Whether the snapshot is the present.
    pub fn is_empty(&self) -> bool {
        self.broken.is_empty() && self.added.is_empty()
    }
}

/// The promises of a serialised `FileDescriptorSet` (such as [`crate::FILE_DESCRIPTOR_SET`]), one a line, sorted.
pub fn render(descriptor_set: &[u8]) -> Result<String, DescriptorError> {
    let set = FileDescriptorSet::decode(descriptor_set)?;
    let mut lines = BTreeSet::new();
    for file in &set.file {
        render_file(file, &mut lines);
    }
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// Compares a checked-in snapshot with the present rendering.
pub fn compare(snapshot: &str, present: &str) -> Difference {
    let (old, new) = (keyed(snapshot), keyed(present));
    let mut difference = Difference::default();
    for (key, was) in &old {
        match new.get(key) {
            Some(is) if is == was => {}
            Some(is) => difference.broken.push(format!("{key}: was `{was}`, is `{is}`")),
            None => difference.broken.push(format!("{key}: was `{was}`, is gone")),
        }
    }
    difference.added =
        new.iter().filter(|(key, _)| !old.contains_key(*key)).map(|(key, is)| format!("{key} {is}")).collect();
    difference
}

/// A line is `kind name = promise`; the part before `=` is what must keep its promise.
fn keyed(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(" = ")).collect()
}

fn render_file(file: &FileDescriptorProto, lines: &mut BTreeSet<String>) {
    let package = file.package();
    file.message_type.iter().for_each(|message| render_message(package, message, lines));
    file.enum_type.iter().for_each(|values| render_enum(package, values, lines));
    for service in &file.service {
        for method in &service.method {
            let stream = |yes: bool| if yes { "stream " } else { "" };
            lines.insert(format!(
                "rpc {package}.{}.{} = ({}{}) -> ({}{})",
                service.name(),
                method.name(),
                stream(method.client_streaming()),
                method.input_type(),
                stream(method.server_streaming()),
                method.output_type(),
            ));
        }
    }
}

fn render_message(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message.name());
    lines.insert(format!("message {name} = present"));
    for field in &message.field {
        let kind =
            if field.type_name().is_empty() { format!("{:?}", field.r#type()) } else { field.type_name().to_owned() };
        let label = match field.label() {
            Label::Repeated => "repeated ",
            Label::Required => "required ",
            Label::Optional if field.proto3_optional() => "optional ",
            Label::Optional => "",
        };
        // Moving a field in or out of a oneof changes what readers see of it.
        let oneof = field
            .oneof_index
            .filter(|_| !field.proto3_optional())
            .and_then(|at| message.oneof_decl.get(usize::try_from(at).ok()?))
            .map_or(String::new(), |oneof| format!(" in oneof {}", oneof.name()));
        // Two lines: neither the number may change its meaning nor the name its number (JSON and reflection use it).
        lines.insert(format!("number {name}#{} = {} {label}{kind}{oneof}", field.number(), field.name()));
        lines.insert(format!("field {name}.{} = {}", field.name(), field.number()));
    }
    message.nested_type.iter().for_each(|nested| render_message(&name, nested, lines));
    message.enum_type.iter().for_each(|values| render_enum(&name, values, lines));
}

fn render_enum(scope: &str, values: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &values.value {
        lines.insert(format!("value {scope}.{}.{} = {}", values.name(), value.name(), value.number()));
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;
    use crate::FILE_DESCRIPTOR_SET;

    #[test]
    fn no_promise_of_the_protocol_is_broken() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/descriptor.snapshot");
        let present = render(FILE_DESCRIPTOR_SET).expect("our own descriptors");
        if env::var_os("HOLDFAST_UPDATE_SNAPSHOT").is_some() {
            let old = fs::read_to_string(&path).unwrap_or_default();
            let broken = compare(&old, &present).broken;
            assert!(broken.is_empty(), "refusing to write down a broken promise: {broken:#?}");
            fs::write(&path, &present).expect("write the snapshot");
        }
        let snapshot = fs::read_to_string(&path).expect("proto/descriptor.snapshot is checked in");
        let difference = compare(&snapshot, &present);
        assert!(
            difference.broken.is_empty(),
            "proto/ breaks what deployed peers rely on: {:#?}\nGive the changed field a new number and name and leave \
             the old one; a message or service that must change gets a v2 package.",
            difference.broken
        );
        assert!(
            difference.added.is_empty(),
            "proto/ has additions: {:#?}\nIf they are meant, run HOLDFAST_UPDATE_SNAPSHOT=1 cargo test -p holdfast-wire \
             snapshot and commit proto/descriptor.snapshot.",
            difference.added
        );
    }

    #[test]
    fn a_field_renumbered_retyped_or_removed_is_named() {
        let present = render(FILE_DESCRIPTOR_SET).expect("our own descriptors");
        let renumbered =
            present.replace("field holdfast.common.v1.Fence.epoch = 1", "field holdfast.common.v1.Fence.epoch = 7");
        let retyped = present.replace("#1 = epoch Uint64", "#1 = epoch Int32");
        let one_more = format!("{present}number holdfast.common.v1.Fence#9 = gone Uint64\n");
        for old in [renumbered, retyped, one_more] {
            assert_ne!(old, present, "the descriptors no longer have what this test changes");
            let broken = compare(&old, &present).broken;
            assert_eq!(broken.len(), 1, "{broken:?}");
            assert!(broken[0].contains("holdfast.common.v1.Fence"), "{broken:?}");
        }
    }

    #[test]
    fn an_addition_breaks_nothing() {
        let present = render(FILE_DESCRIPTOR_SET).expect("our own descriptors");
        let without: String =
            present.lines().filter(|line| !line.contains("ErrorDetail")).map(|line| format!("{line}\n")).collect();
        let difference = compare(&without, &present);
        assert!(difference.broken.is_empty() && !difference.added.is_empty());
    }
}
