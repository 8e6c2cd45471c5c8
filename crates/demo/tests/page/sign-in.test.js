// Coming in, when the name is taken, and in a browser that the demo has opened.

import assert from 'node:assert/strict';
import test from 'node:test';

const elements = new Map();
const element = (id) => {
  if (!elements.has(id)) {
    const handlers = {};
    elements.set(id, { hidden: true, handlers, addEventListener: (type, handler) => { handlers[type] = handler; } });
  }
  return elements.get(id);
};
const canvas = { getContext: () => ({ fillRect() {}, fillText() {} }), toDataURL: () => 'data:,' };
const documentElement = { style: { setProperty() {} }, classList: { add() {} } };
const document = {
  title: 'Star', getElementById: element, createElement: () => canvas, querySelector: () => ({}), documentElement,
};
const sent = [];
const answers = [];
const fetch = async (_, { body }) => {
  sent.push(JSON.parse(body));
  const { status = 200, ...json } = answers.shift() ?? {};
  return { ok: status === 200, status, json: async () => json };
};
for (const [name, value] of Object.entries({ document, fetch })) Object.defineProperty(globalThis, name, { value, configurable: true });
const { anotherName, setUpSignIn } = await import('../../web/sign-in.js');

/** A form at which a browser arrives; how often its user came in, and what it sent. */
async function comesIn(arrival, ...replies) {
  sent.length = 0;
  answers.splice(0, answers.length, ...replies);
  const form = element('sign-in-form');
  form.elements = { name: { value: '' }, passphrase: { value: '' } };
  let entered = 0;
  setUpSignIn(arrival, 'Firefox', () => { entered += 1; });
  form.elements.name.value ||= 'Alice';
  await form.handlers.submit({ preventDefault() {} });
  return { entered, sent };
}

test('a person who is called Alice 2 is Alice 3 next, and no name becomes too long', () => {
  assert.deepEqual(['Alice', 'Alice 2', ' Mom 9'].map(anotherName), ['Alice 2', 'Alice 3', 'Mom 10']);
  assert.equal(anotherName('x'.repeat(24)), `${'x'.repeat(22)} 2`);
});

test('a name that is taken is explained in the form, with another one', async () => {
  const reply = { status: 409, code: 'name-taken', message: 'Alice is signed in already', hint: 'Take another.' };
  assert.equal((await comesIn({}, reply)).entered, 0);
  assert.equal(element('sign-in-words').textContent, 'Alice is signed in already. Take another.');
  assert.equal(element('other-name').textContent, 'Sign in as Alice 2');
  assert.ok(!element('sign-in-problem').hidden && !element('other-name').hidden);
});

test('a browser that the demo has opened comes in as the person of its profile', async () => {
  const { entered, sent } = await comesIn({ name: 'Mom', invitation: 'secret' });
  assert.deepEqual([entered, sent], [1, [{ invitation: 'secret', label: 'Firefox' }]]);
  assert.equal(document.title, 'Mom – Star');
});

test('an invitation that is no longer good is as none', async () => {
  const { entered, sent } = await comesIn({ name: 'Mom', invitation: 'old' }, { status: 404 });
  assert.deepEqual([entered, sent[1]], [1, { name: 'Mom', label: 'Firefox' }]);
});
