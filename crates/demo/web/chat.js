// A conversation. Each of one's own messages shows how far it got: the push service has it, a device has it (by its
// receipt), the other one has seen it.

import { api } from './api.js';
import { paint } from './identity.js';
import { create, showList } from './lists.js';
import { pointOutPerson, reachOf, showActions } from './people.js';

const element = (id) => document.getElementById(id);
const path = (name) => `chat/${encodeURIComponent(name)}`;
let open;
let act;
let complain;

/** `act` does what the buttons stand for, `complain` shows a `Problem`. */
export function setUpChat(does, shows) {
  [act, complain] = [does, shows];
  element('chat-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const field = element('chat-text');
    const text = field.value;
    field.value = '';
    api('POST', path(open), { text }).then(refreshChat).catch((error) => {
      field.value = text;
      complain(error);
    });
  });
  element('chat-close').addEventListener('click', closeChat);
  document.addEventListener('visibilitychange', refreshChat);
}

export async function openChat(name) {
  open = name;
  element('chat').hidden = false;
  element('home').classList.add('talking');
  // What was written before is not read out; what is written from now on is.
  element('messages').ariaLive = 'off';
  await refreshChat();
  element('messages').ariaLive = 'polite';
  element('chat-text').focus({ preventScroll: true });
}

export function closeChat() {
  const name = open;
  open = undefined;
  element('chat').hidden = true;
  element('home').classList.remove('talking');
  pointOutPerson(name);
}

/** Shows the head of the conversation as the person is now. */
export function showPartner(people) {
  const person = people.find(({ name }) => name === open);
  if (!person) return;
  element('chat-title').textContent = person.name;
  element('chat-reach').textContent = reachOf(person);
  paint(element('chat-avatar'), person.name);
  showActions(element('chat-actions'), person, act);
}

/** Asks for the conversation again; what is on the screen is seen. */
export async function refreshChat() {
  const name = open;
  if (!name) return;
  try {
    const { messages } = await api('GET', path(name));
    if (name !== open) return;
    show(messages);
    const isNew = messages.some(({ mine, seenAt }) => !mine && !seenAt);
    if (isNew && document.visibilityState === 'visible') await api('POST', `${path(name)}/seen`);
  } catch (error) {
    complain(error);
  }
}

function show(messages) {
  const list = element('messages');
  const last = list.lastElementChild;
  showList(list, messages, {
    key: ({ id }) => id,
    make: ({ mine, text }) => create('li', { className: mine ? 'mine' : '', text }, create('small')),
    update: (line, message) => {
      const time = new Date(message.sentAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
      const small = line.querySelector('small');
      small.textContent = message.mine ? `${time} · ${mark(message)}` : time;
      small.className = message.mine && message.seenAt ? 'seen' : '';
    },
  });
  if (list.lastElementChild !== last) list.scrollTop = list.scrollHeight;
}

function mark({ acceptedAt, deliveredAt, seenAt }) {
  if (seenAt) return '✓✓ seen';
  if (deliveredAt) return '✓✓ delivered';
  return acceptedAt ? '✓ accepted by the push service' : 'sent';
}
