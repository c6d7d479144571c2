//! `GET /ws`: from an HTTP request to a socket. Whatever can be refused is refused before the upgrade, with a problem.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rookery_actors::protocol::{Codec, ErrorCode, Problem};
use rookery_actors::system::Arrival;

use super::address;
use super::admission::{Admission, Place, Refusal};
use super::http::{Failure, Query, Reply, bearer};
use super::router::other_methods;
use super::service::Service;
use super::socket::{Hub, Newcomer};
use super::stream::Stream;
use crate::accounts::{Caller, challenge};

/// The path of the WebSocket.
pub const PATH: &str = "/ws";
/// How browsers, which cannot set headers on a WebSocket, carry the token.
const TOKEN_PROTOCOL: &str = "bearer.";
/// How long the 101 may take to leave before the place is given to somebody else.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest name that a new device takes from its User-Agent, in characters.
const DEVICE_NAME_CHARS: usize = 100;

/// What the subprotocol header offers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer<'h> {
    codec: Option<Codec>,
    token: Option<&'h str>,
}

/// Answers the request, and sees the socket through when it is a good one.
pub fn answer(
    service: &Service,
    hub: &Arc<Hub>,
    mut request: Request<Incoming>,
    peer: IpAddr,
) -> Result<Reply, Failure> {
    check_handshake(&request)?;
    let headers = request.headers();
    if !service.origins.allow(headers) {
        return Err(Problem::new(ErrorCode::Forbidden, "pages of this origin may not connect").into());
    }
    let admission = &hub.admission;
    if admission.is_draining() {
        return Err(refused(admission, Refusal::Draining));
    }
    let address = address::client(peer, headers, &service.settings.trusted_proxies);
    let offer = offer(headers);
    let token = bearer(headers).or(offer.token).ok_or_else(no_token)?;
    let caller = hub.door.authenticate(token).map_err(no_good)?;
    let entered = admission.enter(address, Instant::now());
    let place = entered.map_err(|refusal| refused(admission, refusal))?;
    let codec = offer.codec;
    let arrival = arrival(&request, caller)?;
    let upgraded = hyper::upgrade::on(&mut request);
    let response = switch(&mut request, codec)?;
    let guest = Guest {
        arrival,
        caller,
        codec: codec.unwrap_or_default(),
    };
    tokio::spawn(see_through(hub.clone(), upgraded, guest, place));
    Ok(response)
}

/// A client whose 101 is on its way.
struct Guest {
    arrival: Arrival,
    caller: Caller,
    codec: Codec,
}

/// Takes the stream back from hyper. This task ends soon: what lives on is the small one that `welcome` starts, and nothing
/// of hyper's, whose empty read buffer alone would keep 8 KiB a connection.
async fn see_through(hub: Arc<Hub>, upgraded: OnUpgrade, guest: Guest, place: Place) {
    let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE_TIMEOUT, upgraded).await else {
        tracing::debug!("a client left before its upgrade was done");
        return;
    };
    let (stream, read) = match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => (parts.io.into_inner(), parts.read_buf),
        Err(_) => {
            tracing::error!("an upgraded connection is none of the listener's");
            return;
        }
    };
    let Guest { arrival, caller, codec } = guest;
    let Ok((wire, answer, rest)) = stream.into_parts() else {
        tracing::debug!("a client left with its upgrade");
        return;
    };
    let newcomer = Newcomer {
        wire,
        answer,
        early: Bytes::from([&read[..], &rest].concat()),
        arrival,
        caller,
        codec,
        place,
    };
    hub.welcome(newcomer).await;
}

fn check_handshake(request: &Request<Incoming>) -> Result<(), Failure> {
    if request.method() != Method::GET {
        return Err(other_methods(request.method(), "GET"));
    }
    if !fastwebsockets::upgrade::is_upgrade_request(request) {
        return Err(upgrade_required("this path is a WebSocket"));
    }
    if request
        .headers()
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(upgrade_required("only WebSocket version 13 is spoken here"));
    }
    Ok(())
}

fn upgrade_required(detail: &str) -> Failure {
    Failure::from(Problem::new(ErrorCode::Unsupported, detail))
        .with_status(StatusCode::UPGRADE_REQUIRED)
        .with_header(UPGRADE, "websocket")
        .with_header(CONNECTION, "upgrade")
        .with_header(SEC_WEBSOCKET_VERSION, "13")
}

fn no_token() -> Failure {
    no_good(Problem::new(
        ErrorCode::Unauthorized,
        "an access token is needed, in Authorization or as the subprotocol bearer.<token>",
    ))
}

fn no_good(problem: Problem) -> Failure {
    metrics::counter!("node_refused_total", "reason" => "token").increment(1);
    challenge(problem)
}

fn refused(admission: &Admission, refusal: Refusal) -> Failure {
    admission.problem(refusal).into()
}

/// Reads `Sec-WebSocket-Protocol`: the first codec of ours, and a token.
fn offer(headers: &HeaderMap) -> Offer<'_> {
    let mut offer = Offer::default();
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    for name in lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
    {
        let name = name.trim();
        match name.strip_prefix(TOKEN_PROTOCOL) {
            Some(token) => offer.token = offer.token.or(Some(token)),
            None => offer.codec = offer.codec.or(Codec::named(name)),
        }
    }
    offer
}

fn arrival(request: &Request<Incoming>, caller: Caller) -> Result<Arrival, Failure> {
    let query = Query::parse(request.uri().query().unwrap_or(""))?;
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Ok(Arrival {
        user: caller.user,
        login: caller.login,
        // One that is malformed is unknown: a new device is made.
        device: query.get("device").and_then(|device| device.parse().ok()),
        device_name: agent.unwrap_or("unnamed").chars().take(DEVICE_NAME_CHARS).collect(),
    })
}

/// The 101.
fn switch(request: &mut Request<Incoming>, codec: Option<Codec>) -> Result<Reply, Failure> {
    let (response, _theirs) = fastwebsockets::upgrade::upgrade(request)
        .map_err(|error| Problem::new(ErrorCode::BadRequest, format!("no WebSocket handshake: {error}")))?;
    let (mut parts, _) = response.into_parts();
    if let Some(codec) = codec {
        let name = HeaderValue::from_static(codec.subprotocol());
        parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok(Reply::from(Response::from_parts(parts, super::http::empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subprotocol_header_names_codec_and_token() {
        let mut headers = HeaderMap::new();
        assert_eq!(offer(&headers), Offer::default());
        headers.append(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("chat, rookery.v1.msgpack"),
        );
        headers.append(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("bearer.a.b-c_d,rookery.v1.json"),
        );
        let found = offer(&headers);
        assert_eq!(found.codec, Some(Codec::MsgPack));
        assert_eq!(found.token, Some("a.b-c_d"));
    }
}
