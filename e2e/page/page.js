// The page's side: it subscribes when it is asked to, and shows what the service worker got.
//
// Tests drive it by `subscribe(key)` and `unsubscribe()`; a person does so in the browser's console. Nothing here knows
// which browser it runs in.

const element = (id) => document.getElementById(id);

/** Registers the worker and subscribes; `key` is the application server's public key. Gives the subscription's JSON. */
async function subscribe(key) {
  await navigator.serviceWorker.register('sw.js');
  const { pushManager } = await navigator.serviceWorker.ready;
  const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  await show();
  return subscription.toJSON();
}

/** Ends the subscription: whether there was one. */
async function unsubscribe() {
  const { pushManager } = await navigator.serviceWorker.ready;
  const subscription = await pushManager.getSubscription();
  const ended = await subscription?.unsubscribe() ?? false;
  await show();
  return ended;
}

async function show() {
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  const { permission } = Notification;
  say('permission', permission === 'default' ? 'click here to allow them' : permission, permission === 'granted');
  say('worker', registration ? 'registered' : 'not registered', registration);
  say('subscription', subscription ? `active at ${new URL(subscription.endpoint).host}` : 'none', subscription);
  const kept = await caches.match('/messages');
  element('messages').replaceChildren(...(kept ? await kept.json() : []).map(item));
}

function say(id, words, good) {
  element(id).textContent = words;
  element(id).className = good ? 'good' : '';
}

function item({ title, body, at }) {
  const line = document.createElement('li');
  const words = document.createElement('div');
  words.append(Object.assign(document.createElement('b'), { textContent: title }), body);
  const time = Object.assign(document.createElement('time'), { textContent: new Date(at).toLocaleTimeString() });
  line.append(words, time);
  return line;
}

// Browsers let a page ask only after a click.
element('permission').addEventListener('click', () => Notification.requestPermission().then(show));
navigator.serviceWorker.addEventListener('message', show);
navigator.serviceWorker.startMessages();
show().then(() => fetch('/report', { method: 'POST', body: JSON.stringify({ event: 'page' }) }));
