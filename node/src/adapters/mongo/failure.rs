//! What an error of the driver means to a port, and to an operator.

use mongodb::error::{Error, ErrorKind, WriteFailure};
use rookery_actors::ports::PortError;

/// A unique index refused a document.
pub const DUPLICATE_KEY: i32 = 11000;

/// Codes of a server that is no primary (any more), is shutting down, gave up in time, or has no room.
const AWAY: [i32; 14] = [
    6, 7, 50, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436,
];
/// Codes of a write whose replication was not confirmed.
const UNCONFIRMED: [i32; 4] = [64, 79, 100, 189];
/// Codes of credentials that do not suffice.
const UNAUTHORIZED: [i32; 3] = [13, 18, 8000];

/// The error as a port tells it. `writes`: the command may have been carried out where no answer came.
pub fn port_error(error: &Error, writes: bool) -> PortError {
    let said = format!("MongoDB: {}", sentence(error));
    let lost = if writes {
        PortError::Unknown
    } else {
        PortError::Unavailable
    };
    match error.kind.as_ref() {
        ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. } | ErrorKind::Authentication { .. } => {
            PortError::Unavailable(said)
        }
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => lost(said),
        _ => match code(error) {
            Some(code) if UNCONFIRMED.contains(&code) => PortError::Unknown(said),
            Some(code) if AWAY.contains(&code) => lost(said),
            _ => PortError::Broken(said),
        },
    }
}

/// The server's number for what went wrong.
pub fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(failed) => Some(failed.code),
        ErrorKind::Write(WriteFailure::WriteError(failed)) => Some(failed.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(failed)) => Some(failed.code),
        ErrorKind::InsertMany(failed) => {
            let concern = failed.write_concern_error.as_ref().map(|failed| failed.code);
            let first = |errors: &Vec<mongodb::error::IndexedWriteError>| errors.first().map(|failed| failed.code);
            concern.or_else(|| failed.write_errors.as_ref().and_then(first))
        }
        _ => None,
    }
}

/// What went wrong, without the documents that servers like to quote.
fn sentence(error: &Error) -> String {
    match (error.kind.as_ref(), code(error)) {
        (ErrorKind::Command(failed), _) if failed.code != DUPLICATE_KEY => {
            format!("{} ({})", failed.message, failed.code)
        }
        (_, Some(code)) => format!("a write failed with code {code}"),
        (kind, None) => kind.to_string(),
    }
}

/// What a selection of a server failed for: the driver tells all that it knows of every server.
fn cause(said: &str) -> &str {
    let begin = said.split_once("Error: Kind: ").map_or(said, |(_, rest)| rest);
    let ends = [", labels: ", ". Topology: "].map(|end| begin.find(end).unwrap_or(begin.len()));
    &begin[..ends[0].min(ends[1])]
}

/// Why the store cannot be opened and what to do, in one sentence; a server that is away may be waited for.
pub fn at_start(error: &Error, place: &str, has_tls: bool) -> PortError {
    let all = sentence(error);
    let said = cause(&all);
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => refused(place),
        _ if code(error).is_some_and(|code| UNAUTHORIZED.contains(&code)) => refused(place),
        // The driver's own sentence about a server it cannot work with hides in that of the selection.
        _ if all.contains("uthentication failed") || all.contains("AuthenticationFailed") => refused(place),
        _ if all.contains("wire version") => PortError::Broken(format!(
            "the MongoDB server at {place} is too old: 4.4 is the least this node works with ({said})"
        )),
        // So do the words of TLS.
        _ if said.contains("invalid peer certificate") => PortError::Broken(format!(
            "the MongoDB server at {place} is not trusted ({said}): name who signed its certificate in \
             mongodb.tls_ca_file, and in mongodb.url a name that stands in it"
        )),
        ErrorKind::InvalidTlsConfig { .. } => PortError::Broken(format!(
            "mongodb.tls_ca_file cannot be used for the MongoDB server at {place}: {said}"
        )),
        _ => {
            let tls = match has_tls {
                true => "is asked for TLS",
                false => "is not asked for TLS (mongodb.tls_ca_file, or tls=true in mongodb.url)",
            };
            let said = format!(
                "cannot reach the MongoDB server at {place}, which {tls}; check [mongodb] and that the server runs ({said})"
            );
            match port_error(error, false) {
                PortError::Broken(_) => PortError::Broken(said),
                _ => PortError::Unavailable(said),
            }
        }
    }
}

fn refused(place: &str) -> PortError {
    PortError::Broken(format!(
        "the MongoDB server at {place} refuses the credentials of mongodb.url, or they may not read and write the database"
    ))
}
