// The service worker: shows each message as a notification and reports to the page's server what became of it.

// A worker is for all pages at once, also for those that were open before it.
self.addEventListener('activate', (event) => event.waitUntil(clients.claim()));

// Messages that come one after the other are handled at the same time: when each came shows their order.
let last = 0;
self.addEventListener('push', (event) => {
  last = Math.max(last + 0.001, performance.timeOrigin + performance.now());
  event.waitUntil(ring(event.data?.text() ?? '', last));
});

self.addEventListener('notificationclick', (event) => event.waitUntil(answer(event.notification)));

async function ring(text, turn) {
  const message = { ...read(text), at: Date.now() };
  await self.registration.showNotification(message.title, { body: message.body, icon: '/bell.png' });
  await keep(message);
  const pages = await openPages();
  pages.forEach((page) => page.postMessage('rung'));
  await report({ event: 'push', text, turn, pages: pages.length });
}

async function answer(notification) {
  notification.close();
  const [page] = await openPages();
  // First of all: a browser lets a worker open a page only for a moment after the click.
  await (page ? page.focus() : clients.openWindow('/'));
  await report({ event: 'click', title: notification.title, opens: !page });
}

/** The message's own title and body if it is JSON with a title, else its text. */
function read(text) {
  try {
    const { title, body = '' } = JSON.parse(text);
    if (title) return { title, body };
  } catch {
    // Not JSON: a text.
  }
  return { title: 'Doorbell', body: text };
}

/** Keeps the last messages for the page, one change at a time. */
let keeping = Promise.resolve();
function keep(message) {
  keeping = keeping.then(async () => {
    const cache = await caches.open('doorbell');
    const kept = await cache.match('/messages');
    const messages = [message, ...(kept ? await kept.json() : [])].slice(0, 4);
    await cache.put('/messages', new Response(JSON.stringify(messages)));
  });
  return keeping;
}

function openPages() {
  return clients.matchAll({ type: 'window', includeUncontrolled: true });
}

function report(what) {
  return fetch('/report', { method: 'POST', body: JSON.stringify(what) });
}
