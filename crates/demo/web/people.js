// The people, and how each can be reached: honestly, as the server knows it from subscriptions and receipts.

import { paint } from './identity.js';
import { create, showList } from './lists.js';

const list = document.getElementById('people');

/** Shows all people. `act` is called with `open`, `audio`, `video` or `voice`, and a name. */
export function showPeople(people, act) {
  document.getElementById('alone').hidden = people.length > 0;
  showList(list, people, { key: ({ name }) => name, make: ({ name }) => row(name, act), update: (item, person) => update(item, person, act) });
}

/** How a person can be reached, in words. */
export function reachOf({ reach, deliveredAt, available }) {
  const away = available ? '' : 'takes no calls now; ';
  const last = deliveredAt ? `, last delivered ${ago(deliveredAt)}` : '';
  if (reach === 'push') return `${away}reachable by push${last}`;
  if (reach === 'page') return `${away}here, while their page is open`;
  return `${away}unreachable: no device takes pushes`;
}

/** The buttons for a person. */
export function showActions(place, { name, available, reach }, act) {
  const calls = available && reach !== 'none' ? [['audio', 'Call'], ['video', 'Video']] : [];
  showList(place, [...calls, ['voice', 'Voice mail']], {
    key: ([what]) => `${what} ${name}`,
    make: ([what, words]) => {
      const button = create('button', { type: 'button', text: words, ariaLabel: `${words} ${name}` });
      button.dataset.act = what;
      button.addEventListener('click', () => act(what, name));
      return button;
    },
  });
}

/** Puts the focus on a person, when their conversation is closed. */
export function pointOutPerson(name) {
  [...list.children].find(({ dataset }) => dataset.name === name)?.querySelector('.words button').focus();
}

export function ago(at) {
  const seconds = Math.round((Date.now() - at) / 1000);
  if (seconds < 10) return 'just now';
  if (seconds < 90) return `${seconds} seconds ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} minutes ago`;
  return new Date(at).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

function row(name, act) {
  const avatar = create('span', { className: 'avatar', ariaHidden: 'true' });
  paint(avatar, name);
  const open = create('button', { type: 'button', text: name });
  open.addEventListener('click', () => act('open', name));
  const badge = create('span', { className: 'badge' });
  const reach = create('p', { className: 'quiet' }, create('span', { className: 'dot' }), create('span'));
  const item = create('li', { className: 'person' }, avatar, create('div', { className: 'words' }, open, badge, reach));
  item.append(create('div', { className: 'actions' }));
  item.dataset.name = name;
  return item;
}

function update(item, person, act) {
  const badge = item.querySelector('.badge');
  badge.hidden = !person.unseen;
  badge.textContent = `${person.unseen} new`;
  const [dot, words] = item.querySelectorAll('.quiet span');
  dot.className = `dot ${person.reach}`;
  words.textContent = reachOf(person);
  showActions(item.querySelector('.actions'), person, act);
}
