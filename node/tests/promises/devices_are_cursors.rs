//! A device is a cursor that belongs to the login which made it: listed, deleted, replaced, bound anew.

use serde_json::{Value, json};

use crate::support::{Client, Server, User, items, text};

async fn devices(user: &User) -> Vec<Value> {
    items(&user.get("/api/devices").await.is(200))
}

async fn device_ids(user: &User) -> Vec<String> {
    devices(user).await.iter().map(|device| text(&device["id"])).collect()
}

#[tokio::test]
async fn devices_are_listed_and_the_current_ones_marked() {
    let server = Server::start().await;
    let phone = server.user("Ada").await;
    let laptop = phone.log_in_again().await;
    let mut phone_socket = phone.socket().header("user-agent", "PhoneChat/3.1").open().await;
    let laptop_socket = laptop.connect().await;
    let seen = devices(&phone).await;
    assert_eq!(seen.len(), 2);
    for device in &seen {
        assert!(
            device["name"].is_string() && device["created_at"].is_string(),
            "{device}"
        );
        let own = device["id"] == phone_socket.device.as_str();
        assert_eq!(device["current"], own, "{device}");
        if own {
            assert!(text(&device["name"]).contains("PhoneChat"), "{device}");
        } else {
            assert_eq!(device["id"], laptop_socket.device.as_str());
        }
    }
    phone_socket.settle().await;
}

#[tokio::test]
async fn deleting_a_device_revokes_its_login() {
    let server = Server::start().await;
    let phone = server.user("Ada").await;
    let laptop = phone.log_in_again().await;
    let mut phone_socket = phone.connect().await;
    let mut laptop_socket = laptop.connect().await;
    laptop
        .delete(&format!("/api/devices/{}", phone_socket.device))
        .await
        .succeeds();
    let code = phone_socket.closed().await;
    assert!(code == 4001 || code == 4009, "closed with {code}");
    phone.get("/api/users/me").await.refuses(401, "unauthorized");
    laptop_socket.settle().await;
    assert_eq!(device_ids(&laptop).await, [laptop_socket.device.as_str()]);
    let gone = format!("/api/devices/{}", phone_socket.device);
    laptop.delete(&gone).await.refuses(404, "not_found");
    laptop.delete("/api/devices/nonsense").await.refuses(404, "not_found");
}

#[tokio::test]
async fn a_second_connection_of_one_device_closes_the_first() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut first = ada.connect().await;
    let mut second = ada.connect_as(&first.device).await;
    assert_eq!(first.closed().await, 4009);
    assert_eq!(second.device, first.device);
    brian.say(&chat, "m", "hello").await;
    second.message(&chat).await;
    assert_eq!(device_ids(&ada).await.len(), 1);
}

#[tokio::test]
async fn the_eleventh_device_replaces_the_one_seen_longest_ago() {
    let server = Server::start().await;
    let ada = server.user("Ada").await;
    let brian = server.user("Brian").await;
    let chat = ada.direct(&brian).await;
    let mut sockets: Vec<Client> = Vec::new();
    for _ in 0..10 {
        sockets.push(ada.connect().await);
        // Seen at different times, in milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut eleventh = ada.connect().await;
    assert_eq!(sockets[0].closed().await, 4009);
    for socket in &mut sockets[1..] {
        socket.settle().await;
    }
    eleventh.settle().await;
    let mut left = device_ids(&ada).await;
    left.sort();
    let mut expected: Vec<_> = sockets[1..].iter().map(|socket| socket.device.clone()).collect();
    expected.push(eleventh.device.clone());
    expected.sort();
    assert_eq!(left, expected);
    ada.get("/api/users/me").await.is(200);
    let back = ada.connect_as(&sockets[0].device).await;
    assert_ne!(back.device, sockets[0].device, "a replaced device is no longer known");
    brian.say(&chat, "m", "hello").await;
    eleventh.message(&chat).await;
}

#[tokio::test]
async fn a_login_binds_a_device_and_its_cursor_goes_on() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    for n in 1..=4 {
        ada.say(&chat, &format!("m{n}"), "hello").await;
    }
    let mut socket = brian.connect().await;
    socket.stream(&chat, 1, 4).await;
    socket.ack(&chat, 3);
    socket.settle().await;
    let device = socket.device.clone();
    let again = brian.log_in_with_device(&device).await;
    assert_eq!(socket.closed().await, 4009);
    let mut socket = again.connect_as(&device).await;
    assert_eq!(socket.device, device);
    assert_eq!(socket.stream(&chat, 4, 4).await.len(), 1);
    assert_ne!(
        brian.connect_as(&device).await.device,
        device,
        "it belongs to the new login"
    );
    socket.settle().await;
}

#[tokio::test]
async fn a_device_of_somebody_else_or_none_is_ignored_by_a_login() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let mut socket = ada.connect().await;
    for device in [socket.device.as_str(), "0199aa00-0000-7000-8000-000000000000"] {
        let login = brian.log_in_with_device(device).await;
        assert_ne!(login.connect_as(device).await.device, device);
    }
    socket.settle().await;
    assert_eq!(ada.connect_as(&socket.device).await.device, socket.device);
}

#[tokio::test]
async fn messages_reach_every_device_of_both_sides() {
    let server = Server::start().await;
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let chat = ada.direct(&brian).await;
    let mut sender = ada.connect().await;
    let mut others = [ada.connect().await, brian.connect().await, brian.connect().await];
    sender.say(&chat, "to all").await;
    for other in &mut others {
        let message = other.message(&chat).await;
        assert_eq!((&message["body"], &message["from"]), (&json!("to all"), &json!(ada.id)));
    }
    sender.has_no("message").await;
}
