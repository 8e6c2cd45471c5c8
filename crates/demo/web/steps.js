// "What just happened": each step of a story, with the time since the story began.

import { create } from './lists.js';

const STORIES_MAX = 12;
const stories = new Map();
const place = document.getElementById('steps');

/** A step of a story. Steps come from the page, from its service worker and from the server, and are shown in order of time. */
export function step(story, what, detail = '', at = Date.now(), bad = false) {
  let known = stories.get(story);
  if (!known) {
    known = { steps: [], element: create('section', { className: 'story' }) };
    stories.set(story, known);
    place.prepend(known.element);
    if (stories.size > STORIES_MAX) {
      const [oldest, { element }] = stories.entries().next().value;
      stories.delete(oldest);
      element.remove();
    }
  }
  known.steps.push({ what, detail, at, bad });
  known.steps.sort((one, other) => one.at - other.at);
  show(known);
  document.getElementById('steps-empty').hidden = true;
}

/** A row of steps of this page: shows each when it is done, and marks a failure. */
export function begin(story) {
  return (what, detail, bad) => step(story, what, detail, Date.now(), bad);
}

function show({ steps, element }) {
  const began = steps[0].at;
  const title = create('h3', { text: new Date(began).toLocaleTimeString() });
  const list = create('ol', {}, ...steps.map(({ what, detail, at, bad }) => {
    const time = create('time', { text: at === began ? '' : since(at - began) });
    const item = create('li', { className: bad ? 'bad' : '' }, time, what);
    if (detail) item.append(create('small', { text: detail }));
    return item;
  }));
  element.replaceChildren(title, list);
}

function since(ms) {
  return ms < 10_000 ? `+${ms} ms` : `+${(ms / 1000).toFixed(1)} s`;
}
