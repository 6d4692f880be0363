//! The Roundtable web client, built with npm by this crate's build script and embedded here.

/// One file of the client.
#[derive(Debug)]
pub struct Asset {
    /// Its name, with a hash of its content where it may be cached for ever.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

impl Asset {
    /// True for the script of a worker, which has a content security policy of its own.
    pub fn is_worker(&self) -> bool {
        self.name.starts_with("worker-")
    }
}

/// What stands at `/`.
#[derive(Debug, Clone, Copy)]
pub enum Page {
    /// The client.
    Built(&'static str),
    /// It could not be built: a page that says in plain words what is missing and how to get it.
    Missing(&'static str),
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// What stands at `/`: HTML.
pub fn page() -> Page {
    PAGE
}

/// A file that the page refers to as `/assets/<name>`.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}
