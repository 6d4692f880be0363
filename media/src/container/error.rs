//! Why a file cannot be read, in words for the person who has it.

/// Why reading stopped. Everything readable before has been delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// Another kind of file.
    #[error("it is {what}, not WebM, Matroska or MP4")]
    NotMedia {
        /// With its article.
        what: &'static str,
    },
    /// Media, but in a container that is not read here.
    #[error(
        "it is {what}; only WebM, Matroska and MP4 are read. Repack it, without loss: \
         ffmpeg -i INPUT -c copy -f matroska OUTPUT.mkv"
    )]
    OtherContainer {
        /// With its article.
        what: &'static str,
    },
    /// Tracks, but none of a codec that is carried.
    #[error("it has no usable track{}", found_names(.found))]
    NoUsableTrack {
        /// What it has: codec names with the reason.
        found: Vec<String>,
    },
    /// An MP4 on a pipe whose index comes after the media.
    #[error(
        "this MP4 has its index (moov) behind the media, which a pipe cannot go back to. \
         Write it with `-movflags frag_keyframe+empty_moov`, or as WebM or Matroska, or give the file itself"
    )]
    IndexAtEnd,
    /// The media lies in an order that only a file allows.
    #[error(
        "the media at byte {at} lies before what was already read, which a pipe cannot go back to. \
         Give the file itself"
    )]
    OutOfOrder {
        /// Where the media lies.
        at: u64,
    },
    /// The file ends where more should be.
    #[error("it is cut short: it ends at byte {at} in the middle of {what}")]
    Truncated {
        /// Where it ends.
        at: u64,
        /// What is cut.
        what: &'static str,
    },
    /// The file breaks its format.
    #[error("it is damaged at byte {at}: {what}")]
    Malformed {
        /// About where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Something is larger than any real file has it.
    #[error("at byte {at} {what} is {bytes} bytes long, more than the {bytes_max} that are read")]
    TooLarge {
        /// Where.
        at: u64,
        /// What.
        what: &'static str,
        /// How large.
        bytes: u64,
        /// What would be accepted.
        bytes_max: u64,
    },
}

fn found_names(names: &[String]) -> String {
    const CARRIED: &str = "carried are VP8, VP9, AV1, H.264, Opus and AAC";
    if names.is_empty() {
        format!(": it has none at all; {CARRIED}")
    } else {
        format!(": it has {}; {CARRIED}", names.join(", "))
    }
}
