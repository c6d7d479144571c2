// Holds one side of a conversation with a Rookery server, with clients that Rookery's authors did not write.
//
// usage: node conversation.mjs BASE_URL NAME WS_PACKAGE
//
// Prints the own user id, reads the peer's from stdin, sends and receives, reconnects, and prints the order it saw as JSON.
// Any surprise is an exception, and so a failed exit.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [base, name, packages] = process.argv.slice(2);
const WebSocket = createRequire(packages)('ws');

const COUNT = 30;
const PATIENCE = 20_000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${PATIENCE} ms`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One connection: objects in, objects out. */
class Socket {
  #frames = [];
  #waiting = null;

  constructor(socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)));
    socket.on('message', (data, binary) => {
      assert.equal(binary, false, 'text frames under JSON');
      this.#frames.push(JSON.parse(data.toString('utf8')));
      this.#waiting?.();
    });
  }

  /** A browser cannot set headers, so the token goes as a second subprotocol here. */
  static open(token, device) {
    const url = base.replace('http', 'ws') + '/ws' + (device ? `?device=${device}` : '');
    const socket = new WebSocket(url, ['rookery.v1.json', `bearer.${token}`]);
    const opened = new Promise((resolve, reject) => {
      const wrapped = new Socket(socket);
      socket.on('open', () => resolve(wrapped));
      socket.on('unexpected-response', (_, response) => reject(new Error(`refused: ${response.statusCode}`)));
      socket.on('error', reject);
    });
    return within(opened, 'an open socket');
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  async next() {
    while (this.#frames.length === 0) {
      await within(new Promise((resolve) => { this.#waiting = resolve; }), 'a frame');
    }
    return this.#frames.shift();
  }

  async expect(matches) {
    for (;;) {
      const frame = await this.next();
      if (matches(frame)) return frame;
    }
  }

  async greet() {
    const hello = await this.next();
    assert.equal(hello.t, 'hello');
    const conversations = [];
    for (;;) {
      const sync = await this.next();
      assert.equal(sync.t, 'sync');
      conversations.push(...sync.conversations);
      if (!sync.more) return { hello, conversations };
    }
  }

  async close() {
    this.socket.close(1000);
    assert.equal(await within(this.closed, 'a close'), 1000);
  }
}

/** Sends everything at once, sees everything of the peer, and answers who stands where. */
async function talk(socket, me, peer) {
  for (let n = 0; n < COUNT; n += 1) {
    const data = { n, half: 0.5, list: [null, true, 'ü'] };
    socket.send({ t: 'send', id: `${me}-${n}`, to: { user: peer }, body: `number ${n} 🦜`, data });
  }
  const order = new Map();
  const messages = new Set();
  const answered = new Set();
  let conversation;
  // An own message may be replayed before its `sent` comes.
  while (order.size < 2 * COUNT || answered.size < COUNT) {
    const frame = await socket.expect((frame) => ['sent', 'message', 'error'].includes(frame.t));
    assert.notEqual(frame.t, 'error', JSON.stringify(frame));
    const place = [frame.t === 'sent' ? me : frame.from, frame.id];
    if (frame.t === 'sent') answered.add(frame.id);
    if (frame.t === 'message') {
      assert.ok(!messages.has(frame.seq), `seq ${frame.seq} came twice`);
      messages.add(frame.seq);
      assert.equal(frame.data.half, 0.5);
      assert.ok(frame.body.endsWith('🦜'));
    }
    // An own message that is replayed comes beside its `sent`; both must say the same.
    assert.deepEqual(order.get(frame.seq) ?? place, place);
    order.set(frame.seq, place);
    conversation = frame.conversation;
  }
  const sorted = [...order.keys()].sort((a, b) => a - b).map((seq) => [seq, order.get(seq)]);
  const own = sorted.map(([, place]) => place).filter(([from]) => from === me).map(([, id]) => id);
  assert.deepEqual(own, Array.from({ length: COUNT }, (_, n) => `${me}-${n}`), 'in the order in which they were sent');
  return { conversation, order: sorted };
}

async function json(method, path, token, body) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: response.status, type: response.headers.get('content-type'), body: await response.json() };
}

async function main() {
  const person = { email: `${name}@example.org`, name, username: name, password: 'correct horse battery' };
  const signup = await json('POST', '/api/auth/signup', null, person);
  assert.equal(signup.status, 201, JSON.stringify(signup.body));
  const { access_token: token, user: { id: me } } = signup.body;
  await assert.rejects(Socket.open('nonsense'), /refused: 401/);
  let socket = await Socket.open(token);
  const { hello, conversations } = await socket.greet();
  assert.equal(hello.user, me);
  assert.deepEqual(conversations, []);

  console.log(me);
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const peer = (await lines.next()).value.trim();

  const { conversation, order } = await talk(socket, me, peer);
  assert.deepEqual(order.map(([seq]) => seq), Array.from({ length: 2 * COUNT }, (_, n) => n + 1));
  socket.send({ t: 'send', id: `${me}-0`, to: { conversation }, body: 'a repeat' });
  const repeat = await socket.expect((frame) => frame.t === 'sent');
  assert.equal(repeat.duplicate, true);
  socket.send({ t: 'ack', conversation, seq: 55 });
  socket.send({ t: 'ping', id: 'acked' });
  await socket.expect((frame) => frame.t === 'pong' && frame.id === 'acked');
  await socket.close();

  socket = await Socket.open(token, hello.device);
  const again = await socket.greet();
  assert.equal(again.hello.device, hello.device);
  assert.deepEqual(again.conversations.map((item) => item.delivered), [55]);
  for (const [due, [from, id]] of order.slice(55)) {
    const message = await socket.expect((frame) => frame.t === 'message');
    assert.deepEqual([message.seq, message.from, message.id], [due, from, id]);
  }
  await socket.close();

  const page = await json('GET', `/api/messages/${conversation}?after=0&limit=500`, token);
  assert.equal(page.status, 200);
  assert.deepEqual(page.body.items.map((item) => [item.seq, [item.from, item.id]]), order);
  const missing = await json('GET', '/api/nowhere', token);
  assert.deepEqual([missing.status, missing.type, missing.body.code], [404, 'application/problem+json', 'not_found']);
  console.log(JSON.stringify(order.map(([, place]) => place)));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
