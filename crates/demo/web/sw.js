// The service worker: runs when a push arrives, whether or not a page is open. The message already is a notification
// (Declarative Web Push); this only does better than a browser could by itself.

/**
 * Firefox counts the pushes of which no notification is on the screen 3 s later, and soon ends the subscription: until then a
 * notification is changed, and closed afterwards. In ms, with a second more for a busy machine.
 */
const SHOWN_MIN = 4_000;

/** What a notification that is changed then reads. */
const ENDS = {
  answered: () => 'You answered.',
  opened: () => 'Answer on the page.',
  declined: () => 'You declined.',
  withdrawn: (from) => `${from} hung up.`,
  unanswered: () => 'You did not answer.',
  'hung-up': () => 'The call is over.',
};

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(clients.claim()));
self.addEventListener('push', (event) => event.waitUntil(show(event, Date.now())));
self.addEventListener('notificationclick', (event) => event.waitUntil(open(event)));
self.addEventListener('message', (event) => event.waitUntil(silence(event.data)));
self.addEventListener('pushsubscriptionchange', (event) => event.waitUntil(subscribeAnew()));

async function show(event, arrivedAt) {
  const { title, navigate, ...options } = event.data.json().notification;
  const { kind, from, story, until } = options.data;
  options.data.arrivedAt = arrivedAt;
  const late = kind === 'ring' && Date.now() > until;
  if (late) {
    // It was held up on the way: the call is over, and must not ring.
    await self.registration.showNotification(`Missed call from ${from}`, { ...options, body: 'Open to call back.', actions: [], requireInteraction: false });
  } else {
    await self.registration.showNotification(title, options);
  }
  await report(from, story, late ? 'late' : 'shown', Date.now() - arrivedAt);
}

async function open({ notification, action }) {
  const { kind, from, story, call, navigate } = notification.data;
  const clickedAt = Date.now();
  if (action === 'decline') {
    await Promise.all([fetch(`/api/calls/${call}/end`, { method: 'POST' }), takeAway(notification, 'declined')]);
    return;
  }
  const isTakenAway = takeAway(notification, action === 'answer' ? 'answered' : 'opened');
  // The answer is a message and not in the address: a browser that was killed opens that again, without a click.
  const message = { type: 'open', url: navigate, does: action };
  // First of all: a browser lets a worker open a page only for a moment after the click.
  const [page] = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  if (page) {
    page.postMessage(message);
    await page.focus();
  } else {
    (await clients.openWindow(navigate))?.postMessage(message);
  }
  if (kind !== 'trial' && kind !== 'gone') await report(from, story, 'clicked', Date.now() - clickedAt);
  await isTakenAway;
}

/** A page reports that a call does not ring any more, and how it ended: its notification is taken away. */
async function silence({ type, call, how }) {
  if (type !== 'silence') return;
  const shown = await self.registration.getNotifications({ tag: `call-${call}` });
  await Promise.all(shown.filter(({ data }) => data?.kind === 'ring').map((notification) => takeAway(notification, how)));
}

async function takeAway(notification, how) {
  const { tag, icon, data } = notification;
  // One that a browser has shown without this worker has no time: it may be new.
  const left = (data.arrivedAt ?? Date.now()) + SHOWN_MIN - Date.now();
  if (data.kind !== 'ring' || left <= 0) return notification.close();
  const gone = { kind: 'gone', from: data.from, navigate: '/' };
  await self.registration.showNotification(`${data.from} called`, { tag, icon, body: ENDS[how](data.from), silent: true, data: gone });
  await new Promise((resolve) => { setTimeout(resolve, left); });
  // A push may have replaced it meanwhile, for instance by a missed call, which stays.
  const shown = await self.registration.getNotifications({ tag });
  shown.filter(({ data }) => data?.kind === 'gone').forEach((one) => one.close());
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
