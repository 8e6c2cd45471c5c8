// Puts the page together: who is signed in, what is shown, and which part of the page does what.

import { api } from './api.js';
import { arrive, reaction } from './arrival.js';
import { answer, isOver, isRung, pending, receiveSignal, ring, setUpCalls, update } from './call.js';
import { openChat, refreshChat, setUpChat, showPartner } from './chat.js';
import { hasFailed } from './events.js';
import { claimWindow, owner, paint } from './identity.js';
import { setUpInvitations } from './invite.js';
import { create, showList } from './lists.js';
import { connect, disconnect, on } from './live.js';
import { nextStep } from './next.js';
import { pause } from './patience.js';
import { ago, showPeople } from './people.js';
import { disable, enable, obstacle, passing, renew, resume } from './push.js';
import { setUpSignIn } from './sign-in.js';
import { step } from './steps.js';
import { leaveVoiceMail, pointOutVoiceMail, showVoiceMails } from './voice.js';

const element = (id) => document.getElementById(id);
let settings;
let overview;
let reachable = false;
/** Why the last attempt to be reachable failed. */
let failure;
/** What is to be known of being reachable here, although nothing is in the way. */
let warning;

const arrival = arrive(window);
/** Is fulfilled when a person is signed in and the page is connected. */
let isIn;
const entered = new Promise((resolve) => { isIn = resolve; });
// At once: after this script has run, a browser hands over what the service worker has sent until then.
navigator.serviceWorker?.addEventListener('message', ({ data }) => {
  if (data.type === 'open') entered.then(() => follow(data)).catch(complain);
});

start().catch(complain);

async function start() {
  [settings, warning] = await Promise.all([api('GET', 'settings'), passing()]);
  setUpSignIn(arrival, label(), () => enter().catch(complain));
  setUpHome();
  setUpCalls(settings, { complain, notice });
  setUpChat(act, complain);
  setUpInvitations(complain);
  const { name, invitation } = arrival;
  // One that was used before may have been used here: then the person is signed in. With a name it waits for the form.
  if (invitation && !name) await api('POST', 'sign-in', { invitation, label: label() }).catch(complain);
  await enter().catch((error) => {
    if (!error.isSignedOut) throw error;
    element('sign-in').hidden = false;
  });
}

/** Shows the page of the person who is signed in. */
async function enter() {
  overview = await api('GET', 'overview');
  for (const [id, hidden] of [['sign-in', true], ['home', false], ['who', false]]) element(id).hidden = hidden;
  setUpEvents();
  show();
  await connect();
  await follow(arrival);
  isIn();
  // Last, since a push client that has just been started lets the page wait, and a call does not.
  try {
    reachable = await resume(settings);
  } catch (error) {
    if (error.isObstacle) failure = error;
    else complain(error);
  }
  await refresh();
}

function setUpEvents() {
  on('connected', async () => {
    element('offline').textContent = '';
    const [known, before] = [pending(), overview];
    refreshChat();
    await refresh();
    // It ended while this page was away.
    if (known && overview !== before && overview.call?.id !== known.id) isOver(known, 'hung-up', overview.me.name);
  });
  on('lost', () => { element('offline').textContent = 'Not connected. Trying again…'; });
  on('people', refresh);
  on('chat', () => refreshChat().then(refresh));
  on('step', (event) => step(event.story, event.what, event.detail, event.at, hasFailed(event)));
  on('call', ({ call }) => {
    // It was answered, here or on another device: what rings on the screen of this one stops.
    if (call.answeredBy) silence(call.id, 'answered');
    update(call, overview.me.name).catch(complain);
  });
  on('over', ({ call, how }) => {
    silence(call.id, how);
    isOver(call, how, overview.me.name);
  });
  on('signal', ({ call, signal }) => receiveSignal(call, signal).catch(complain));
  on('unsubscribed', renewHere);
}

/** The server could not push to one of this person's devices: if it is this one, it subscribes anew. */
async function renewHere() {
  await refresh();
  if (!reachable || overview.me.devices.some((device) => device.this && device.push)) return;
  try {
    await renew(settings);
  } catch (error) {
    reachable = false;
    show();
    complain(error);
  }
}

/** One question at a time; what changes meanwhile is asked for once more. */
let asking;
let again = false;
function refresh() {
  again = true;
  asking ??= (async () => {
    while (again) {
      again = false;
      overview = await api('GET', 'overview');
      show();
    }
  })().catch((error) => (error.isSignedOut ? location.reload() : complain(error))).finally(() => { asking = undefined; });
  return asking;
}

function show() {
  const { me, people, voiceMails, voiceMailsFull } = overview;
  if (owner !== me.name) claimWindow(me.name);
  element('my-name').textContent = me.name;
  paint(element('my-avatar'), me.name);
  element('available').checked = me.available;
  showList(element('my-devices'), me.devices.map((device, at) => ({ ...device, at })), {
    key: ({ at }) => at,
    make: () => create('li'),
    update: (item, { label, push, deliveredAt, ...device }) => {
      const takes = push ? `takes pushes${deliveredAt ? `, last delivered ${ago(deliveredAt)}` : ''}` : 'takes no pushes';
      item.textContent = `${label}${device.this ? ' (this one)' : ''}: ${takes}`;
    },
  });
  showPeople(people, act);
  showPartner(people);
  showVoiceMails(voiceMails, voiceMailsFull, (name) => ring(name, 'audio'), complain);
  element('next').textContent = nextStep(reachable, people);
  showReachable();
}

/** What has to be done before this person can be called here, if anything. */
function showReachable() {
  const problem = obstacle() ?? failure;
  element('trial').hidden = !reachable;
  const shown = problem ?? warning;
  element('reachable').hidden = reachable && !shown;
  element('reachable').classList.toggle('bad', Boolean(problem));
  element('reachable-title').textContent = shown?.message ?? 'Be reachable, also when this page is closed';
  element('reachable-words').textContent = shown?.hint
    ?? 'Allow notifications, and your friends can call you although the browser is closed.';
  element('enable').hidden = reachable && !problem;
  element('enable').textContent = problem ? 'Try again' : 'Be reachable';
}

function setUpHome() {
  element('enable').addEventListener('click', async () => {
    try {
      if (obstacle()) return showReachable();
      element('enable').disabled = true;
      element('reachable-words').textContent = 'Choose “Allow” if the browser asks. Then wait: the first time its push service may take some seconds.';
      await enable(settings);
      reachable = true;
      failure = undefined;
      await refresh();
    } catch (error) {
      if (!error.isObstacle) return complain(error);
      failure = error;
      showReachable();
    } finally {
      element('enable').disabled = false;
    }
  });
  element('available').addEventListener('change', ({ target }) => {
    api('PUT', 'device', { available: target.checked }).catch(complain);
  });
  element('trial').addEventListener('click', () => api('POST', 'trial').catch(complain));
  const menu = document.querySelector('.menu');
  const closeMenu = () => {
    if (menu.contains(document.activeElement)) menu.querySelector('summary').focus();
    menu.open = false;
  };
  menu.addEventListener('keydown', ({ key }) => { if (key === 'Escape') closeMenu(); });
  menu.querySelectorAll('button').forEach((button) => button.addEventListener('click', closeMenu));
  document.addEventListener('pointerdown', ({ target }) => { if (!menu.contains(target)) menu.open = false; });
  element('sign-out').addEventListener('click', async () => {
    disconnect();
    // The server forgets the subscription in any case.
    await Promise.race([disable().catch(() => {}), pause(4_000)]);
    await api('POST', 'sign-out').catch(complain);
    location.href = '/';
  });
}

function act(what, name) {
  if (what === 'open') openConversation(name);
  else if (what === 'voice') leaveVoiceMail(name, toast, complain);
  else ring(name, what);
}

function openConversation(name) {
  openChat(name);
  showPartner(overview.people);
}

/** Where an address or a notification leads: a call, a conversation, a voice mail. */
async function follow(lead) {
  await refresh();
  const asked = new URL(lead.url).searchParams;
  const { call, me } = overview;
  const rings = call && call.to === me.name && !call.answeredBy ? call : undefined;
  switch (reaction(lead, rings)) {
    case 'answer':
      answer(rings);
      break;
    case 'ring':
      isRung(rings);
      break;
    case 'offer':
      toast(`${rings.from} is calling.`, ['Show the call', () => follow({ url: `${location.origin}/?call=${rings.id}` }).catch(complain)]);
      break;
    case 'over':
      toast('This call is over, or another device has answered it.');
      break;
  }
  if (asked.has('with')) openConversation(asked.get('with'));
  if (asked.has('voice')) pointOutVoiceMail(asked.get('voice'));
}

/** A call no longer rings: its notification is taken away, by the service worker, which outlives the page. */
async function silence(call, how) {
  const registration = await navigator.serviceWorker?.getRegistration();
  registration?.active?.postMessage({ type: 'silence', call, how });
}

/** Shows what is wrong and what to do. After a call to `name` that was not taken, a voice mail can be left. */
function complain({ message, hint = '', isUnanswered }, name) {
  notice(`${message} ${hint}`, isUnanswered ? name : undefined);
}

/** Shows words, and offers to leave a voice mail for `name`, if there is one. */
function notice(words, name) {
  toast(words, name && ['Leave a voice mail', () => leaveVoiceMail(name, toast, complain)]);
}

function toast(words, action) {
  const isShown = [...document.querySelectorAll('.toast p')].some(({ textContent }) => textContent === words);
  if (isShown) return;
  const box = create('div', { className: 'toast' }, create('p', { text: words }));
  const close = create('button', { type: 'button', text: 'OK' });
  close.addEventListener('click', () => box.remove());
  if (action) {
    const [label, does] = action;
    const button = create('button', { type: 'button', text: label });
    button.addEventListener('click', () => { box.remove(); does(); });
    box.append(button);
  } else {
    setTimeout(() => box.remove(), 12_000);
  }
  box.append(close);
  element('toasts').append(box);
}

/** What this browser is called in lists of devices. */
function label() {
  const agent = navigator.userAgent;
  const browser = ['Firefox', 'Edg', 'Chrome', 'Safari'].find((name) => agent.includes(name)) ?? 'A browser';
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac', 'Linux'].find((name) => agent.includes(name));
  return `${browser.replace('Edg', 'Edge')}${system ? ` on ${system}` : ''}`;
}
