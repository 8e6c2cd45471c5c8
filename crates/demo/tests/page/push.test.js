// Being reachable, in a browser whose push client starts late.

import assert from 'node:assert/strict';
import test, { mock } from 'node:test';

const never = new Promise(() => {});
const subscription = { toJSON: () => ({ endpoint: 'https://push.example/1' }) };
const asked = [];
const sent = [];
const pushManager = Object.fromEntries(['getSubscription', 'subscribe'].map((name) => [name, () => {
  asked.push(name);
  // The first of each kind is never answered.
  return asked.filter((one) => one === name).length === 1 ? never : Promise.resolve(subscription);
}]));
const registration = { pushManager };
const serviceWorker = { register: async () => {}, ready: Promise.resolve(registration), getRegistration: async () => registration };
const globals = {
  document: { getElementById: () => null }, isSecureContext: true, navigator: { serviceWorker },
  window: { PushManager: Object, Notification: Object }, Notification: { permission: 'granted' },
  fetch: async (_, { body }) => { sent.push(JSON.parse(body)); return { ok: true, status: 204 }; },
};
for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true });
const { PATIENCE } = await import('../../web/patience.js');
const { resume } = await import('../../web/push.js');

const turns = async () => { for (let i = 0; i < 20; i++) await new Promise((resolve) => { setImmediate(resolve); }); };

test('a page that asks before the push client has started asks again, and is reachable', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const done = resume({ applicationServerKey: 'key' });
  await turns();
  assert.deepEqual(asked, ['getSubscription']);
  mock.timers.tick(PATIENCE[0]);
  await turns();
  assert.deepEqual(asked, ['getSubscription', 'getSubscription', 'subscribe']);
  assert.deepEqual(sent, []);
  mock.timers.tick(PATIENCE[0]);
  assert.equal(await done, true);
  assert.deepEqual(sent, [{ subscription: subscription.toJSON() }]);
  mock.timers.reset();
});
