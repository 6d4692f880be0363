//! Namespaces and track names (draft 2.4.1): tuples of bytes, compared byte for byte.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// Most fields a namespace may have (draft 2.4.1).
pub const NAMESPACE_FIELDS_MAX: usize = 32;
/// Most bytes of a full track name, all fields and the name together (draft 2.4.1).
pub const FULL_TRACK_NAME_BYTES_MAX: usize = 4096;

/// Why bytes are no namespace or track name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More than [`NAMESPACE_FIELDS_MAX`] fields.
    #[error("a namespace has at most 32 fields")]
    TooManyFields,
    /// A field without a byte.
    #[error("a namespace field has at least one byte")]
    EmptyField,
    /// Longer than [`FULL_TRACK_NAME_BYTES_MAX`].
    #[error("a full track name has at most 4096 bytes")]
    TooLong,
}

/// A track namespace, or a prefix of one: 0 to 32 fields of at least one byte. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<[Bytes]>);

impl Default for Namespace {
    fn default() -> Self {
        Namespace(Arc::from([]))
    }
}

impl Namespace {
    /// A namespace of these fields.
    pub fn new(fields: impl IntoIterator<Item = Bytes>) -> Result<Self, NameError> {
        let fields: Arc<[Bytes]> = fields.into_iter().collect();
        if fields.len() > NAMESPACE_FIELDS_MAX {
            return Err(NameError::TooManyFields);
        }
        if fields.iter().any(Bytes::is_empty) {
            return Err(NameError::EmptyField);
        }
        let namespace = Namespace(fields);
        if namespace.byte_len() > FULL_TRACK_NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Ok(namespace)
    }

    /// A namespace of one field.
    pub fn single(field: impl Into<Bytes>) -> Result<Self, NameError> {
        Self::new([field.into()])
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Bytes of all fields together, without their lengths.
    pub fn byte_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// True when `self` is `prefix` or begins with all its fields (draft 9.5).
    pub fn starts_with(&self, prefix: &Namespace) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The fields after `prefix`, if `self` begins with it.
    pub fn suffix(&self, prefix: &Namespace) -> Option<Namespace> {
        self.0.strip_prefix(&*prefix.0).map(|rest| Namespace(Arc::from(rest)))
    }

    /// `self` followed by the fields of `suffix`.
    pub fn join(&self, suffix: &Namespace) -> Result<Namespace, NameError> {
        Self::new(self.0.iter().chain(suffix.0.iter()).cloned())
    }

    /// True when one of the two is a prefix of the other (the overlap of draft 10.18).
    pub fn overlaps(&self, other: &Namespace) -> bool {
        self.starts_with(other) || other.starts_with(self)
    }
}

/// A namespace and the track's name within it: the key of a track in a scope.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FullTrackName {
    namespace: Namespace,
    name: Bytes,
}

impl FullTrackName {
    /// A name; refused when both together are longer than the draft allows.
    pub fn new(namespace: Namespace, name: impl Into<Bytes>) -> Result<Self, NameError> {
        let name = name.into();
        if namespace.byte_len() + name.len() > FULL_TRACK_NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Ok(FullTrackName { namespace, name })
    }

    /// The namespace the track is in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The track's own name; may be empty.
    pub fn name(&self) -> &Bytes {
        &self.name
    }
}

/// The draft's safe rendering (2.4.2): `[A-Za-z0-9_]` as is, every other byte as `.xx`.
fn write_safe(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, ".{byte:02x}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("-")?;
            }
            write_safe(f, field)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

impl fmt::Display for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--", self.namespace)?;
        write_safe(f, &self.name)
    }
}

impl fmt::Debug for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_rendered_as_the_draft_says() {
        let namespace =
            Namespace::new(["example.net", "team2", "project_x"].map(Bytes::from_static_str)).unwrap();
        let track = FullTrackName::new(namespace, "report").unwrap();
        assert_eq!(track.to_string(), "example.2enet-team2-project_x--report");
    }

    trait FromStaticStr {
        fn from_static_str(text: &'static str) -> Bytes;
    }
    impl FromStaticStr for Bytes {
        fn from_static_str(text: &'static str) -> Bytes {
            Bytes::from_static(text.as_bytes())
        }
    }

    #[test]
    fn a_prefix_matches_whole_fields_only() {
        let prefix = Namespace::single("foo").unwrap();
        assert!(Namespace::new([Bytes::from("foo"), Bytes::from("bar")]).unwrap().starts_with(&prefix));
        assert!(!Namespace::single("foobar").unwrap().starts_with(&prefix));
        assert!(prefix.starts_with(&Namespace::default()));
    }
}
