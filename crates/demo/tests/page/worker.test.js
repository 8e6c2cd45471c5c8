// The service worker, run as the script that it is, on a desktop that keeps notifications by their tag.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { mock } from 'node:test';
import vm from 'node:vm';

const SCRIPT = readFileSync(new URL('../../web/sw.js', import.meta.url), 'utf8');
const RING = {
  title: 'Mom is calling', navigate: '/?call=c1', tag: 'call-c1', actions: [], requireInteraction: true,
  data: { kind: 'ring', from: 'Mom', story: 's', call: 'c1', navigate: '/?call=c1', until: 60_000 },
};
const MISSED = { title: 'Missed call from Mom', tag: 'call-c1', data: { kind: 'missed', from: 'Mom', story: 's', navigate: '/?with=Mom' } };

/** Lets the promises run that are settled already. */
const turn = () => new Promise((resolve) => { setImmediate(resolve); });

test.beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 }));
test.afterEach(() => mock.timers.reset());

function worker(pages = []) {
  const handlers = {};
  const shown = new Map();
  const [requests, opened, waits] = [[], [], []];
  const registration = {
    async showNotification(title, options) {
      const notification = { title, ...options, close: () => { if (shown.get(options.tag) === notification) shown.delete(options.tag); } };
      shown.set(options.tag, notification);
    },
    getNotifications: async ({ tag }) => [shown.get(tag)].filter(Boolean),
  };
  const self = { registration, skipWaiting() {}, addEventListener: (type, handler) => { handlers[type] = handler; } };
  const clients = {
    matchAll: async () => pages,
    async openWindow(url) {
      const messages = [];
      opened.push({ url, messages });
      return { postMessage: (message) => messages.push(message) };
    },
  };
  const fetch = async (path) => { requests.push(path); };
  vm.runInNewContext(SCRIPT, { self, clients, fetch, setTimeout: globalThis.setTimeout, Date: globalThis.Date });
  const happens = async (type, event) => {
    handlers[type]({ ...event, waitUntil: (done) => waits.push(done) });
    await turn();
  };
  const plain = (value) => JSON.parse(JSON.stringify(value));
  return {
    opened, requests,
    is: () => [...shown.values()].map(({ title, body }) => [title, body].filter(Boolean).join(': ')),
    receives: (notification) => happens('push', { data: { json: () => ({ notification: plain(notification) }) } }),
    // A desktop takes a notification away when it is clicked.
    clicks: (action) => {
      const notification = shown.get('call-c1');
      shown.delete('call-c1');
      return happens('notificationclick', { notification, action });
    },
    posts: (data) => happens('message', { data }),
    passes: async (ms) => { mock.timers.tick(ms); await turn(); },
    ends: () => Promise.all(waits),
  };
}

test('a call that ends at once is changed on the screen, and closed four seconds after it came', async () => {
  const sw = worker();
  await sw.receives(RING);
  await sw.passes(500);
  await sw.posts({ type: 'silence', call: 'c1', how: 'withdrawn' });
  assert.deepEqual(sw.is(), ['Mom called: Mom hung up.']);
  await sw.passes(3_499);
  assert.deepEqual(sw.is(), ['Mom called: Mom hung up.']);
  await sw.passes(1);
  assert.deepEqual(sw.is(), []);
  await sw.ends();
});

test('a call that ends later is closed at once', async () => {
  const sw = worker();
  await sw.receives(RING);
  await sw.passes(4_000);
  await sw.posts({ type: 'silence', call: 'c1', how: 'answered' });
  assert.deepEqual(sw.is(), []);
});

test('a missed call that comes meanwhile stays', async () => {
  const sw = worker();
  await sw.receives(RING);
  await sw.posts({ type: 'silence', call: 'c1', how: 'withdrawn' });
  await sw.receives(MISSED);
  await sw.passes(4_000);
  await sw.posts({ type: 'silence', call: 'c1', how: 'withdrawn' });
  assert.deepEqual(sw.is(), ['Missed call from Mom']);
});

test('a call that is declined at once leaves a notification for four seconds, and opens no page', async () => {
  const sw = worker();
  await sw.receives(RING);
  await sw.clicks('decline');
  assert.deepEqual(sw.is(), ['Mom called: You declined.']);
  assert.ok(sw.requests.includes('/api/calls/c1/end'));
  await sw.passes(4_000);
  assert.deepEqual(sw.is(), []);
  assert.deepEqual(sw.opened, []);
});

test('an answer opens the page at an address that does not answer, and sends the answer after it', async () => {
  const sw = worker();
  await sw.receives(RING);
  await sw.clicks('answer');
  assert.deepEqual(JSON.parse(JSON.stringify(sw.opened)), [
    { url: '/?call=c1', messages: [{ type: 'open', url: '/?call=c1', does: 'answer' }] },
  ]);
});

test('an answer goes to the page that is open, before that comes to the front', async () => {
  const done = [];
  const page = { postMessage: ({ does }) => done.push(does), focus: async () => done.push('focus') };
  const sw = worker([page]);
  await sw.receives(RING);
  await sw.clicks('answer');
  assert.deepEqual(done, ['answer', 'focus']);
  assert.deepEqual(sw.opened, []);
});
