// Being reachable: the service worker, the permission, the subscription, and the server that gets it. Whatever is in the
// way is a `Problem` in plain words, with what to do.

import { api } from './api.js';
import { patiently } from './patience.js';
import { Problem } from './problem.js';
import { begin } from './steps.js';

/** What keeps this browser from taking pushes, as far as one sees without trying; nothing if all is well. */
export function obstacle() {
  if (!isSecureContext) {
    return noPush(
      'This address is not secure',
      'Browsers allow push on https:// and on localhost only. Start the demo with a certificate, or open it as http://localhost.',
    );
  }
  if (!('serviceWorker' in navigator) || !('PushManager' in window) || !('Notification' in window)) {
    return noPush(
      'This window takes no pushes',
      'It is a private window, or a browser without Web Push. Open this page in a normal window of Firefox or Chromium. You can be called here while the page is open.',
    );
  }
  if (Notification.permission === 'denied') {
    return noPush(
      'Notifications are blocked',
      'No call can wake you until you allow them: click the icon in the address bar, remove the block, and reload this page. A private window of Chromium always blocks them: open a normal one.',
    );
  }
}

/** What to know about a private window, as far as a browser lets one see that it is one: Firefox's have no files. */
export async function passing() {
  const isPrivate = await navigator.storage?.getDirectory?.().then(() => false, ({ name }) => name === 'SecurityError');
  return isPrivate ? new Problem(
    'private-window',
    'This is a private window',
    'You can be called here until it is closed: then the browser forgets that you allowed it, and you are signed out. To be reachable when the browser is closed, open this page in a normal window.',
  ) : undefined;
}

/** Makes this browser reachable, step by step. Throws a `Problem`. */
export async function enable({ applicationServerKey, pushService }) {
  const report = begin(`registration-${Date.now()}`);
  report('you want to be reachable');
  if ((await Notification.requestPermission()) !== 'granted') {
    report('notifications are not allowed', '', true);
    throw noPush('Notifications are not allowed', 'Without them no call can wake you. Try again, and choose “Allow” when the browser asks.');
  }
  report('notifications are allowed', 'by you, for this site only');
  const registration = await worker();
  report('the service worker is ready', 'it runs when a push arrives, without a page');
  const subscription = await subscribe(registration, applicationServerKey).catch((error) => {
    report('the push service gives no subscription', error.message, true);
    throw explain(error, pushService);
  });
  const { host } = new URL(subscription.endpoint);
  report('the push service has given a subscription', `an address at ${host} that only this site knows, and keys to encrypt to`);
  await api('PUT', 'device', { subscription: subscription.toJSON(), available: true });
  report('the demo’s server has it', 'from now on it can ring this device');
}

/** Sends the server the subscription of this browser, which may have changed while no page was open: whether there is one. */
export async function resume({ applicationServerKey }) {
  if (obstacle() || Notification.permission !== 'granted') return false;
  const registration = await worker();
  if (!await subscriptionOf(registration)) {
    await api('PUT', 'device', { subscription: null });
    return false;
  }
  const subscription = await subscribe(registration, applicationServerKey);
  await api('PUT', 'device', { subscription: subscription.toJSON() });
  return true;
}

/** The push service no longer knows the subscription: another one takes its place. */
export async function renew(settings) {
  if (obstacle() || Notification.permission !== 'granted') return;
  const report = begin(`renewal-${Date.now()}`);
  report('the push service no longer knows this device’s subscription');
  await disable();
  const subscription = await subscribe(await worker(), settings.applicationServerKey);
  report('the push service has given another one');
  await api('PUT', 'device', { subscription: subscription.toJSON() });
  report('the demo’s server has it', 'it takes the place of the one that was lost');
}

/** Ends the subscription, when a person signs out. */
export async function disable() {
  const registration = await navigator.serviceWorker?.getRegistration();
  if (registration) await (await subscriptionOf(registration))?.unsubscribe();
}

async function worker() {
  await navigator.serviceWorker.register('/sw.js');
  return navigator.serviceWorker.ready;
}

function subscriptionOf({ pushManager }) {
  return patiently(() => pushManager.getSubscription());
}

async function subscribe(registration, applicationServerKey) {
  const options = { userVisibleOnly: true, applicationServerKey };
  const attempt = () => registration.pushManager.subscribe(options);
  try {
    return await patiently(attempt);
  } catch (error) {
    // The browser has a subscription for another key: the demo was set up anew. That one is useless now.
    if (error.name !== 'InvalidStateError') throw error;
    await (await subscriptionOf(registration))?.unsubscribe();
    return patiently(attempt);
  }
}

function explain(error, pushService) {
  if (error.isObstacle) return error;
  if (error.name === 'NotAllowedError' || error.name === 'SecurityError') {
    return noPush('This window takes no pushes', 'It seems to be a private window. Open this page in a normal one.');
  }
  const service = pushService ?? 'the browser’s push service';
  return noPush(
    'The push service does not answer',
    `This browser gets its messages from a push service, and cannot reach it. If it is ${service}: start the browser with “doorbell firefox ${pushService ?? ''}”, and see that “doorbell demo” is running. Then try again.`,
  );
}

function noPush(message, hint) {
  return new Problem('no-push', message, hint);
}
