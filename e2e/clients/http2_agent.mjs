// A user agent on Node's http2 module: it takes server pushes without any code of ours.
//
// node http2_agent.mjs --base https://127.0.0.1:8443 --ca ca.pem [--monitor URL] [--wait0] [--pushes N] [--keep] [--streams N]
//   --monitor URL  the subscription to monitor; without it a new one is made
//   --wait0        ask with `Prefer: wait=0`; else the request is held open
//   --pushes N     leave after N pushes (a held request never ends by itself)
//   --keep         do not DELETE the messages
//   --streams N    SETTINGS_MAX_CONCURRENT_STREAMS for pushed streams
//
// Prints JSON lines: {event:"subscribed",subscription,push} {event:"push",path,request,status,headers,body}
// {event:"deleted",path,status} {event:"answer",status}. Bodies are base64.

import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: {
    base: { type: 'string' },
    ca: { type: 'string' },
    monitor: { type: 'string' },
    wait0: { type: 'boolean', default: false },
    pushes: { type: 'string', default: '0' },
    keep: { type: 'boolean', default: false },
    streams: { type: 'string', default: '100' },
  },
});
const wanted = Number(args.pushes);
const session = http2.connect(args.base, {
  ca: readFileSync(args.ca),
  settings: { enablePush: true, maxConcurrentStreams: Number(args.streams) },
});
session.on('error', fail);

const monitor = args.monitor ?? (await subscribe());
let received = 0;
// Work that must end before we may leave: pushes that are arriving, messages that are being deleted.
const pending = new Set();

session.on('stream', (pushed, request) => {
  const arrival = receive(pushed, request);
  pending.add(arrival);
  arrival.catch(fail).finally(() => {
    pending.delete(arrival);
    if (wanted > 0 && received >= wanted && pending.size === 0) leave();
  });
});

const held = session.request({ ':path': pathOf(monitor), ...(args.wait0 ? { prefer: 'wait=0' } : {}) });
held.on('response', (headers) => print({ event: 'answer', status: headers[':status'] }));
held.on('error', fail);
held.resume();
held.end();
held.on('close', async () => {
  while (pending.size > 0) await Promise.allSettled([...pending]);
  if (args.wait0) session.close();
});

/** A held request never ends by itself, and the session does not close while it is open. */
function leave() {
  held.close(http2.constants.NGHTTP2_CANCEL);
  session.close();
}

async function subscribe() {
  const { headers } = await exchange({ ':method': 'POST', ':path': '/subscribe' });
  if (headers[':status'] !== 201) fail(new Error(`subscribe was answered ${headers[':status']}`));
  const push = /<([^>]+)>\s*;\s*rel="urn:ietf:params:push"/.exec(headers.link)?.[1];
  print({ event: 'subscribed', subscription: headers.location, push });
  return headers.location;
}

async function receive(pushed, request) {
  const head = new Promise((resolve) => pushed.on('push', resolve));
  const body = await bodyOf(pushed);
  const { ':status': status, ...headers } = await head;
  received += 1;
  print({ event: 'push', path: request[':path'], request, status, headers, body: body.toString('base64') });
  if (args.keep) return;
  const deleted = await exchange({ ':method': 'DELETE', ':path': request[':path'] });
  print({ event: 'deleted', path: request[':path'], status: deleted.headers[':status'] });
}

function exchange(headers) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers);
    stream.on('response', (headers) => bodyOf(stream).then((body) => resolve({ headers, body }), reject));
    stream.on('error', reject);
    stream.end();
  });
}

function bodyOf(stream) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('end', () => resolve(Buffer.concat(chunks)));
    stream.on('error', reject);
  });
}

function pathOf(url) {
  return new URL(url, args.base).pathname;
}

function print(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

function fail(error) {
  process.stderr.write(`http2_agent: ${error.stack ?? error}\n`);
  process.exit(1);
}
