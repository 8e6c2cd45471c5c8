// How a page came to be open, and what it does about a call.

import assert from 'node:assert/strict';
import test from 'node:test';

import { arrive, reaction } from '../../web/arrival.js';

const SITE = 'http://localhost:8444';
const call = { id: 'c1' };

/** A tab whose entry of the history stays, as a browser keeps it, while its page is loaded again. */
function tab(path) {
  const entry = { url: `${SITE}${path}`, state: null };
  const history = {
    get state() { return entry.state; },
    replaceState: (state, _, url) => Object.assign(entry, { state, url: new URL(url, entry.url).href }),
  };
  const loads = (type) => arrive({ location: { href: entry.url }, history, performance: { getEntriesByType: () => [{ type }] } });
  return { entry, loads };
}

test('a page reads its address once', () => {
  const { entry, loads } = tab('/?call=c1');
  assert.deepEqual(loads('navigate'), { url: `${SITE}/?call=c1`, isRestored: false, name: null, invitation: null, guest: null });
  assert.equal(entry.url, `${SITE}/`);
});

test('an invitation is read and leaves the address', () => {
  const { entry, loads } = tab('/#in=secret');
  assert.equal(loads('navigate').invitation, 'secret');
  assert.equal(tab('/#guest=secret').loads('navigate').guest, 'secret');
  assert.equal(entry.url, `${SITE}/`);
});

test('a page that is loaded again is restored, by whatever kind of navigation a browser reports', () => {
  for (const type of ['reload', 'back_forward', 'navigate']) {
    const { loads } = tab('/?call=c1');
    loads('navigate');
    const again = loads(type);
    assert.ok(again.isRestored, type);
    assert.equal(again.url, `${SITE}/`);
  }
});

test('a page that was killed before its script ran is restored, too', () => {
  assert.ok(tab('/?call=c1').loads('back_forward').isRestored);
});

test('an address rings and never answers, not even one of an earlier version', () => {
  assert.equal(reaction({ url: `${SITE}/?call=c1` }, call), 'ring');
  assert.equal(reaction({ url: `${SITE}/?call=c1&do=answer` }, call), 'ring');
});

test('the message after a click answers the call that rings, and no other', () => {
  const lead = { url: `${SITE}/?call=c1`, does: 'answer' };
  assert.equal(reaction(lead, call), 'answer');
  assert.equal(reaction(lead, { id: 'c2' }), 'over');
  assert.equal(reaction(lead, undefined), 'over');
});

test('a restored page neither answers nor rings: it offers to show a call that rings', () => {
  for (const path of ['/', '/?call=c1', '/?call=c0']) {
    assert.equal(reaction({ url: SITE + path, isRestored: true }, call), 'offer');
    assert.equal(reaction({ url: SITE + path, isRestored: true }, undefined), undefined);
  }
});

test('a page that is opened by itself rings if a call does', () => {
  assert.equal(reaction({ url: `${SITE}/` }, call), 'ring');
  assert.equal(reaction({ url: `${SITE}/?with=Mom` }, undefined), undefined);
});
