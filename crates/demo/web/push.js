// Being reachable: the service worker, the permission, the subscription, and the server that is told of it. Whatever is
// in the way is said in plain words, with what to do.

import { api } from './api.js';
import { begin } from './steps.js';

/** What keeps this browser from taking pushes, as far as one sees without trying; nothing if all is well. */
export function obstacle() {
  if (!isSecureContext) {
    return {
      title: 'This address is not secure',
      words: 'Browsers allow push on https:// and on localhost only. Start the demo with a certificate, or open it as http://localhost.',
    };
  }
  if (!('serviceWorker' in navigator) || !('PushManager' in window) || !('Notification' in window)) {
    return {
      title: 'This window takes no pushes',
      words: 'It is a private window, or a browser without Web Push. Open this page in a normal window of Firefox or Chromium. You can be called here while the page is open.',
    };
  }
  if (Notification.permission === 'denied') {
    return {
      title: 'Notifications are blocked',
      words: 'Nobody can wake you until you allow them: click the icon beside the address, remove the block, and reload this page. A private window of Chromium always blocks them: open a normal one.',
    };
  }
}

/** What has to be said of a private window, as far as a browser lets one see that it is one: Firefox's have no files. */
export async function passing() {
  const isPrivate = await navigator.storage?.getDirectory?.().then(() => false, ({ name }) => name === 'SecurityError');
  return isPrivate ? {
    title: 'This is a private window',
    words: 'You can be called here until it is closed: then the browser forgets that you allowed it, and you are signed out. To be reachable when the browser is closed, open this page in a normal window.',
  } : undefined;
}

/** Makes this browser reachable, step by step. Throws an error with a title and words for people. */
export async function enable({ applicationServerKey, pushService }) {
  const tell = begin(`registration-${Date.now()}`);
  tell('you want to be reachable');
  if ((await Notification.requestPermission()) !== 'granted') {
    tell('notifications are not allowed', '', true);
    throw { title: 'Notifications are not allowed', words: 'Without them nobody can wake you. Try again, and choose “Allow” when the browser asks.' };
  }
  tell('notifications are allowed', 'by you, for this site only');
  const registration = await worker();
  tell('the service worker is ready', 'it runs when a push arrives, without a page');
  const subscription = await subscribe(registration, applicationServerKey).catch((error) => {
    tell('the push service gives no subscription', error.message, true);
    throw explain(error, pushService);
  });
  const { host } = new URL(subscription.endpoint);
  tell('the push service has given a subscription', `an address at ${host} that only this site knows, and keys to encrypt to`);
  await api('PUT', 'device', { subscription: subscription.toJSON(), available: true });
  tell('the demo’s server has it', 'from now on it can ring this device');
}

/** Tells the server where pushes reach this browser now, which may have changed while nobody looked: whether they do. */
export async function resume({ applicationServerKey }) {
  if (obstacle() || Notification.permission !== 'granted') return false;
  const registration = await worker();
  if (!await registration.pushManager.getSubscription()) {
    await api('PUT', 'device', { subscription: null });
    return false;
  }
  const subscription = await subscribe(registration, applicationServerKey);
  await api('PUT', 'device', { subscription: subscription.toJSON() });
  return true;
}

/** The push service knows the subscription no more: another one takes its place. */
export async function renew(settings) {
  if (obstacle() || Notification.permission !== 'granted') return;
  const tell = begin(`renewal-${Date.now()}`);
  tell('the push service knows this device’s subscription no more');
  await disable();
  const subscription = await subscribe(await worker(), settings.applicationServerKey);
  tell('the push service has given another one');
  await api('PUT', 'device', { subscription: subscription.toJSON() });
  tell('the demo’s server has it', 'it takes the place of the one that was lost');
}

/** Ends the subscription, when somebody signs out. */
export async function disable() {
  const registration = await navigator.serviceWorker?.getRegistration();
  await (await registration?.pushManager.getSubscription())?.unsubscribe();
}

async function worker() {
  await navigator.serviceWorker.register('/sw.js');
  return navigator.serviceWorker.ready;
}

async function subscribe({ pushManager }, applicationServerKey) {
  const options = { userVisibleOnly: true, applicationServerKey };
  try {
    return await pushManager.subscribe(options);
  } catch (error) {
    // The browser has a subscription for another key: the demo was set up anew. That one is of no use any more.
    if (error.name !== 'InvalidStateError') throw error;
    await (await pushManager.getSubscription())?.unsubscribe();
    return pushManager.subscribe(options);
  }
}

function explain(error, pushService) {
  if (error.name === 'NotAllowedError' || error.name === 'SecurityError') {
    return { title: 'This window takes no pushes', words: 'It seems to be a private window. Open this page in a normal one.' };
  }
  const service = pushService ?? 'the browser’s push service';
  return {
    title: 'The push service does not answer',
    words: `This browser gets its messages from a push service, and cannot reach it. If it is ${service}: start the browser with “doorbell firefox ${pushService ?? ''}”, and see that “doorbell demo” is running. Then try again.`,
  };
}
