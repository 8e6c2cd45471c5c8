// A conversation. Each of one's own messages says how far it got: the push service has it, a device has it (a receipt
// said so), the other one has seen it.

import { api } from './api.js';
import { actionsFor, paint, reachOf } from './people.js';

const element = (id) => document.getElementById(id);
const path = (name) => `chat/${encodeURIComponent(name)}`;
let open;
let act;
let complain;

/** `act` does what the buttons say, `complain` shows a refusal. */
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
  await refreshChat();
  element('chat-text').focus({ preventScroll: true });
}

export function closeChat() {
  open = undefined;
  element('chat').hidden = true;
  element('home').classList.remove('talking');
}

/** Shows the head of the conversation as the person is now. */
export function showPartner(people) {
  const person = people.find(({ name }) => name === open);
  if (!person) return;
  element('chat-title').textContent = person.name;
  element('chat-reach').textContent = reachOf(person);
  paint(element('chat-avatar'), person.name);
  element('chat-actions').replaceChildren(...actionsFor(person, act));
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
  list.replaceChildren(...messages.map(item));
  list.scrollTop = list.scrollHeight;
}

function item(message) {
  const line = document.createElement('li');
  line.className = message.mine ? 'mine' : '';
  const time = new Date(message.sentAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const small = document.createElement('small');
  small.textContent = message.mine ? `${time} · ${mark(message)}` : time;
  small.className = message.seenAt ? 'seen' : '';
  line.append(message.text, small);
  return line;
}

function mark({ acceptedAt, deliveredAt, seenAt }) {
  if (seenAt) return '✓✓ seen';
  if (deliveredAt) return '✓✓ delivered';
  return acceptedAt ? '✓ accepted by the push service' : 'sent';
}
