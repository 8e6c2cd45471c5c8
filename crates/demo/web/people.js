// The people, and how each can be reached: honestly, as the server knows it from subscriptions and receipts.

const list = document.getElementById('people');

/** Shows everybody. `act` is called with `open`, `audio`, `video` or `voice`, and a person. */
export function showPeople(people, act) {
  document.getElementById('nobody').hidden = people.length > 0;
  list.replaceChildren(...people.map((person) => row(person, act)));
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
export function actionsFor(person, act) {
  const action = (what, words) => {
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: words });
    button.setAttribute('aria-label', `${words} ${person.name}`);
    button.dataset.act = what;
    button.addEventListener('click', () => act(what, person));
    return button;
  };
  const calls = person.available && person.reach !== 'none' ? [action('audio', 'Call'), action('video', 'Video')] : [];
  return [...calls, action('voice', 'Voice mail')];
}

/** The first letters of a name, in a colour of its own. */
export function paint(avatar, name) {
  avatar.textContent = name.split(' ').map((word) => word[0]).slice(0, 2).join('').toUpperCase();
  const hue = [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  avatar.style.setProperty('--hue', hue);
}

export function ago(at) {
  const seconds = Math.round((Date.now() - at) / 1000);
  if (seconds < 10) return 'just now';
  if (seconds < 90) return `${seconds} seconds ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} minutes ago`;
  return new Date(at).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

function row(person, act) {
  const item = document.createElement('li');
  item.className = 'person';
  item.dataset.name = person.name;
  const avatar = Object.assign(document.createElement('span'), { className: 'avatar' });
  avatar.ariaHidden = 'true';
  paint(avatar, person.name);
  const words = Object.assign(document.createElement('div'), { className: 'words' });
  const name = Object.assign(document.createElement('button'), { type: 'button', textContent: person.name });
  name.addEventListener('click', () => act('open', person));
  words.append(name);
  if (person.unseen) {
    const badge = Object.assign(document.createElement('span'), { className: 'badge', textContent: `${person.unseen} new` });
    words.append(badge);
  }
  const reach = Object.assign(document.createElement('p'), { className: 'quiet' });
  const dot = Object.assign(document.createElement('span'), { className: `dot ${person.reach}` });
  reach.append(dot, reachOf(person));
  words.append(reach);
  const actions = Object.assign(document.createElement('div'), { className: 'actions' });
  actions.append(...actionsFor(person, act));
  item.append(avatar, words, actions);
  return item;
}
