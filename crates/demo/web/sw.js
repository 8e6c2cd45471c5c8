// The service worker: runs when a push arrives, whether or not a page is open. The message already is a notification
// (Declarative Web Push); this only does better than a browser could by itself.

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(clients.claim()));
self.addEventListener('push', (event) => event.waitUntil(show(event, Date.now())));
self.addEventListener('notificationclick', (event) => event.waitUntil(open(event)));
self.addEventListener('pushsubscriptionchange', (event) => event.waitUntil(subscribeAnew()));

async function show(event, arrivedAt) {
  const { title, navigate, ...options } = event.data.json().notification;
  const { kind, from, story, until } = options.data;
  const late = kind === 'ring' && Date.now() > until;
  if (late) {
    // It was held up on the way: the call is over, and must not ring.
    await self.registration.showNotification(`Missed call from ${from}`, { ...options, body: 'Open to call back.', actions: [], requireInteraction: false });
  } else {
    await self.registration.showNotification(title, options);
  }
  await report(from, story, late ? 'late' : 'shown', Date.now() - arrivedAt);
}

async function open(event) {
  const { notification, action } = event;
  const { kind, from, story, call, navigate } = notification.data;
  const clickedAt = Date.now();
  notification.close();
  if (action === 'decline') {
    await fetch(`/api/calls/${call}/end`, { method: 'POST' });
    return;
  }
  const url = action === 'answer' ? `${navigate}&do=answer` : navigate;
  const [page] = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  // First of all: a browser lets a worker open a page only for a moment after the click.
  if (page) {
    page.postMessage({ type: 'open', url });
    await page.focus();
  } else {
    await clients.openWindow(url);
  }
  if (kind !== 'trial') await report(from, story, 'clicked', Date.now() - clickedAt);
}

/** The browser has ended the subscription, or has another one: without a page open, only the worker can send it to the server. */
async function subscribeAnew() {
  let subscription = await self.registration.pushManager.getSubscription();
  if (!subscription) {
    const { applicationServerKey } = await (await fetch('/api/settings')).json();
    subscription = await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  }
  await fetch('/api/device', {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ subscription: subscription.toJSON() }),
  });
}

/** Reports what became of a push to the person who sent it. A report that is lost does no harm. */
async function report(from, story, what, afterMs) {
  await fetch('/api/reports', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ from, story, what, afterMs }),
  }).catch(() => {});
}
