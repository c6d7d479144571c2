//! The page of error codes and close codes, made from the code so that none is forgotten.

use std::fmt::Write;

use rookery_actors::protocol::{CloseCode, ErrorCode};

/// Lists variants with what the page says of each; the match inside fails to compile when one is missing.
macro_rules! catalogue {
    ($name:ident: $type:ident => { $($variant:ident: ($meaning:literal, $client:literal),)+ }) => {
        const $name: &[($type, &str, &str)] = &[$(($type::$variant, $meaning, $client),)+];
        const _: fn($type) = |code| match code { $($type::$variant => (),)+ };
    };
}

catalogue!(ERRORS: ErrorCode => {
    BadRequest: ("The request cannot be read: no JSON, a wrong query, both `before` and `after`.", "Mend the request."),
    InvalidField: ("A field has a value it cannot have; `errors` names it.", "Mend the field."),
    Unauthorized: ("No access token, or one that is not valid (any more).", "Refresh; if that fails, log in."),
    BadCredentials: ("Unknown user or wrong password; 403 for a wrong old password.", "Ask the person again."),
    TokenExpired: ("The access token has expired.", "Refresh, then repeat the request."),
    RefreshReused: ("The refresh token was spent before; the login is ended.", "Log in."),
    Forbidden: ("The user may not do this.", "Do not repeat."),
    NotMember: ("The user was a member of the conversation and is none any more.", "Do not repeat."),
    Blocked: ("One of the two blocks the other.", "Do not repeat."),
    NotFound: ("There is no such thing, or the user may not know of it.", "Do not repeat."),
    EmailTaken: ("An account has that e-mail address.", "Log in, or take another one."),
    UsernameTaken: ("An account has that username.", "Take another one."),
    Conflict: ("The state of the thing does not allow it, such as editing a deleted message.", "Look at the thing again."),
    TooLarge: ("A body, a frame or one field exceeds its limit (`hello.limits`).", "Make it smaller."),
    Unsupported: ("Method (405, see `Allow`), content type (415), upgrade (426) or frame type is not known.", "Mend the client."),
    RateLimited: ("Too many in too short a time.", "Wait `retry_after_ms`, then repeat."),
    Internal: ("A fault of the server; it is in its log under the request's id.", "Repeat later, with the same id."),
    Unavailable: ("The server or something behind it is away; nothing was done.", "Wait `retry_after_ms`, then repeat with the same id."),
    Timeout: ("The outcome is unknown.", "Repeat with the same id: it never makes a second message."),
});

catalogue!(CLOSES: CloseCode => {
    Bye: ("The client said goodbye.", "Nothing."),
    NodeStopping: ("The node stops.", "Reconnect at once, with jitter of a few seconds."),
    UnsupportedData: ("Binary under JSON, or text under MessagePack.", "Mend the client; do not reconnect before."),
    InvalidPayload: ("Text that is not UTF-8.", "Mend the client; do not reconnect before."),
    TooBig: ("A frame over `limits.frame_bytes`, or a fragmented one.", "Send smaller frames; reconnect."),
    Protocol: ("A violation of RFC 6455 or of the contract.", "Mend the client; do not reconnect before."),
    LoggedOut: ("The login was ended, here or elsewhere.", "Log in, then connect."),
    TokenExpired: ("The access token expired and no `reauth` came.", "Refresh, then reconnect at once."),
    Forbidden: ("The user may not be here (any more).", "Do not reconnect."),
    TooSlow: ("The client took nothing for `limits.write_deadline_seconds`.", "Reconnect; nothing is lost."),
    Replaced: ("Another connection took this device's place, or the device was removed.", "Do not reconnect as this device by itself."),
    Idle: ("Nothing came for `limits.idle_seconds`, pongs included.", "Reconnect at once."),
    RateLimited: ("Frames kept coming far beyond the budget.", "Reconnect after 10 s or more."),
    Overloaded: ("The node has too much to do.", "Reconnect with growing, jittered pauses."),
});

/// The page of the documentation.
pub fn errors() -> String {
    let mut page = String::from(
        "# Error codes and close codes\n\n\
         Made by `rookery docs errors`. Programs branch on the code; titles and details are for people and may change.\n\n\
         ## Error codes\n\n\
         Over HTTP an error is an `application/problem+json` document (RFC 9457) whose `code` is one of these; over the \
         WebSocket it is an `error` frame with the same code.\n\n\
         | Code | Status | Meaning | What a client does |\n|---|---|---|---|\n",
    );
    for (code, meaning, client) in ERRORS {
        let (name, status) = (code.as_str(), code.status());
        writeln!(
            page,
            "| <a id=\"{name}\"></a>`{name}` | {status} | {meaning} | {client} |"
        )
        .ok();
    }
    page.push_str(
        "\n## Close codes\n\n\
         Why the server ends a WebSocket. A connection that ends without a close frame is 1006 to the client: reconnect, \
         with growing, jittered pauses.\n\n\
         | Code | Reason | Meaning | What a client does |\n|---|---|---|---|\n",
    );
    for (close, meaning, client) in CLOSES {
        writeln!(page, "| {} | {} | {meaning} | {client} |", close.code(), close.reason()).ok();
    }
    page
}
