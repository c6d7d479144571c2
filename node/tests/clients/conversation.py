"""Holds one side of a conversation with a Rookery server, with clients that Rookery's authors did not write.

usage: conversation.py BASE_URL NAME SUBPROTOCOL

Prints the own user id, reads the peer's from stdin, sends and receives, reconnects, and prints the order it saw as JSON.
Any surprise is an exception, and so a failed exit.
"""

import asyncio
import json
import ssl
import sys

import httpx
import msgpack
import websockets

COUNT = 30
PATIENCE = 20


class Socket:
    """One connection: objects in, objects out, whichever subprotocol."""

    def __init__(self, connection):
        self.connection = connection
        self.packed = connection.subprotocol == "rookery.v1.msgpack"
        self.seen = []

    async def send(self, frame):
        await self.connection.send(msgpack.packb(frame) if self.packed else json.dumps(frame))

    async def next(self):
        data = await asyncio.wait_for(self.connection.recv(), PATIENCE)
        assert isinstance(data, bytes) == self.packed, "binary frames under MessagePack, text under JSON"
        return msgpack.unpackb(data) if self.packed else json.loads(data)

    async def expect(self, matches):
        while True:
            frame = await self.next()
            if matches(frame):
                return frame
            self.seen.append(frame)

    async def greet(self):
        hello = await self.next()
        assert hello["t"] == "hello", hello
        conversations = []
        while True:
            sync = await self.next()
            assert sync["t"] == "sync", sync
            conversations += sync["conversations"]
            if not sync["more"]:
                return hello, conversations


async def connect(base, token, subprotocol, device=None):
    url = base.replace("http", "ws", 1) + "/ws" + (f"?device={device}" if device else "")
    connection = await websockets.connect(
        url,
        subprotocols=[subprotocol],
        additional_headers={"Authorization": f"Bearer {token}"},
        proxy=None,
    )
    assert connection.subprotocol == subprotocol, connection.subprotocol
    return Socket(connection)


async def is_refused(base, subprotocol):
    try:
        await connect(base, "nonsense", subprotocol)
    except websockets.exceptions.InvalidStatus as refused:
        assert refused.response.status_code == 401, refused
        assert json.loads(refused.response.body)["code"] == "unauthorized", refused.response.body
    else:
        raise AssertionError("a bad token was let in")


async def talk(socket, me, peer):
    """Sends everything at once, sees everything of the peer, and answers who stands where."""
    for n in range(COUNT):
        data = {"n": n, "half": 0.5, "list": [None, True, "ü"]}
        await socket.send({"t": "send", "id": f"{me}-{n}", "to": {"user": peer}, "body": f"number {n} 🦜", "data": data})
    order, messages, answered = {}, set(), set()
    conversation = None
    # An own message may be replayed before its `sent` comes.
    while len(order) < 2 * COUNT or len(answered) < COUNT:
        frame = await socket.expect(lambda frame: frame["t"] in ("sent", "message", "error"))
        assert frame["t"] != "error", frame
        author = me if frame["t"] == "sent" else frame["from"]
        if frame["t"] == "sent":
            answered.add(frame["id"])
        if frame["t"] == "message":
            assert frame["body"].endswith("🦜") and frame["data"]["half"] == 0.5, frame
            assert frame["seq"] not in messages, frame
            messages.add(frame["seq"])
        # An own message that is replayed comes beside its `sent`; both must say the same.
        assert order.setdefault(frame["seq"], [author, frame["id"]]) == [author, frame["id"]], frame
        conversation = frame["conversation"]
    assert sorted(order) == list(range(1, 2 * COUNT + 1)), order
    own = [place[1] for _, place in sorted(order.items()) if place[0] == me]
    assert own == [f"{me}-{n}" for n in range(COUNT)], "the own messages stand in the order in which they were sent"
    return conversation, order


async def misbehave(socket, conversation):
    """Wrong frames are answered, and the connection goes on."""
    await socket.send({"t": "nonsense", "id": "w1"})
    error = await socket.expect(lambda frame: frame.get("id") == "w1")
    assert error["t"] == "error" and error["code"] == "unsupported", error
    await socket.send({"t": "history", "id": "w2", "conversation": conversation, "limit": 5})
    history = await socket.expect(lambda frame: frame.get("id") == "w2")
    assert [message["seq"] for message in history["messages"]] == [60, 59, 58, 57, 56], history
    pong = await socket.connection.ping()
    await asyncio.wait_for(pong, PATIENCE)


async def main():
    base, name, subprotocol = sys.argv[1:]
    # Straight to the server, whatever proxy the environment names.
    # With the authorities of SSL_CERT_FILE, where there are any.
    trusted = ssl.create_default_context()
    http = httpx.AsyncClient(base_url=base, timeout=PATIENCE, trust_env=False, verify=trusted)
    signup = {"email": f"{name}@example.org", "name": name, "username": name, "password": "correct horse battery"}
    answer = await http.post("/api/auth/signup", json=signup)
    assert answer.status_code == 201, answer.text
    token, me = answer.json()["access_token"], answer.json()["user"]["id"]
    http.headers["Authorization"] = f"Bearer {token}"
    await is_refused(base, subprotocol)
    socket = await connect(base, token, subprotocol)
    hello, conversations = await socket.greet()
    assert hello["user"] == me and conversations == [], (hello, conversations)

    print(me, flush=True)
    peer = (await asyncio.to_thread(sys.stdin.readline)).strip()

    conversation, order = await talk(socket, me, peer)
    await misbehave(socket, conversation)
    await socket.send({"t": "ack", "conversation": conversation, "seq": 50})
    await socket.send({"t": "ping", "id": "acked"})
    await socket.expect(lambda frame: frame.get("id") == "acked")
    await socket.connection.close()
    assert socket.connection.close_code == 1000, socket.connection.close_code

    socket = await connect(base, token, subprotocol, hello["device"])
    again, conversations = await socket.greet()
    assert again["device"] == hello["device"], again
    assert [item["delivered"] for item in conversations] == [50], conversations
    for due in range(51, 2 * COUNT + 1):
        message = await socket.expect(lambda frame: frame["t"] == "message")
        assert message["seq"] == due and [message["from"], message["id"]] == order[due], message
    await socket.connection.close()

    page = await http.get(f"/api/messages/{conversation}", params={"after": 0, "limit": 500})
    assert page.status_code == 200, page.text
    history = {item["seq"]: [item["from"], item["id"]] for item in page.json()["items"]}
    assert history == order, "history and what was seen differ"
    missing = await http.get("/api/nowhere")
    assert missing.headers["content-type"] == "application/problem+json", missing.headers
    print(json.dumps([order[seq] for seq in sorted(order)]), flush=True)


asyncio.run(main())
