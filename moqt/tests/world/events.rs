//! What tests write often: names, messages, and the events they expect.

use bytes::Bytes;
use roundtable_moqt::{
    FullTrackName, Location, Namespace, Parameters, RequestErrorCode,
    message::{
        NamespaceRequest, Publish, RequestError, RequestId, RequestOk, Subscribe, SubscribeOk, TrackAlias,
    },
    properties::Writer,
    subgroup::SubgroupHeader,
};

pub fn namespace(name: &str) -> Namespace {
    Namespace::new(
        name.split('/').filter(|field| !field.is_empty()).map(|field| Bytes::from(field.to_owned())),
    )
    .unwrap()
}

/// `namespace/fields/name`.
pub fn track(path: &str) -> FullTrackName {
    let (fields, name) = path.rsplit_once('/').unwrap();
    FullTrackName::new(namespace(fields), name.to_owned()).unwrap()
}

pub fn subscribe(path: &str) -> Subscribe {
    Subscribe { track: track(path), parameters: Parameters::default() }
}

pub fn subscribe_ok(alias: u64) -> SubscribeOk {
    SubscribeOk {
        alias: TrackAlias(alias),
        parameters: Parameters::default(),
        track_properties: Bytes::new(),
    }
}

pub fn subscribe_ok_at(alias: u64, largest: Location) -> SubscribeOk {
    let parameters = Parameters { largest_object: Some(largest), ..Parameters::default() };
    SubscribeOk { parameters, ..subscribe_ok(alias) }
}

pub fn publish(path: &str, alias: u64) -> Publish {
    Publish {
        track: track(path),
        alias: TrackAlias(alias),
        parameters: Parameters::default(),
        track_properties: Bytes::new(),
    }
}

pub fn under(prefix: &str) -> NamespaceRequest {
    NamespaceRequest { namespace: namespace(prefix), parameters: Parameters::default() }
}

pub fn ok() -> RequestOk {
    RequestOk::default()
}

pub fn error(code: RequestErrorCode) -> RequestError {
    RequestError::new(code, "because")
}

pub fn forward(forward: bool) -> Parameters {
    Parameters { forward: Some(forward), ..Parameters::default() }
}

/// Track properties of one integer.
pub fn property(key: u64, value: u64) -> Bytes {
    let mut writer = Writer::new();
    writer.integer(key, value);
    writer.finish()
}

pub fn subgroup(group: u64, subgroup: u64) -> SubgroupHeader {
    SubgroupHeader {
        alias: TrackAlias(0),
        group,
        subgroup: Some(subgroup),
        priority: None,
        ends_group: false,
        first_object: true,
        has_properties: false,
    }
}

pub const fn id(number: u64) -> RequestId {
    RequestId(number)
}

/// Takes apart an event that must be of this form.
#[macro_export]
macro_rules! expect {
    ($pattern:pat = $event:expr) => {
        let event = $event;
        let $pattern = event else { panic!("unexpected {event:?}") };
    };
}
