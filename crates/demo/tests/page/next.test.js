// What the page says to do next.

import assert from 'node:assert/strict';
import test from 'node:test';

import { nextStep } from '../../web/next.js';

const mom = (reach, available = true) => [{ name: 'Mom', reach, available }];

test('a reachable person closes this browser, and the other one calls', () => {
  assert.match(nextStep(true, mom('push')), /^Next: close this browser, and call from the page of Mom/);
  assert.match(nextStep(true, mom('page')), /Choose “Be reachable” there, too: then Mom can be called back/);
});

test('a person whom no push reaches calls, and becomes reachable to be called back', () => {
  assert.match(nextStep(false, mom('push')), /call Mom from here. Choose “Be reachable”, too/);
  assert.match(nextStep(false, mom('page')), /^Next: choose “Be reachable” here/);
});

test('a person who cannot be called gets a message, and a person who is alone reads nothing of others', () => {
  assert.match(nextStep(true, mom('none')), /leave a message or a voice mail/);
  assert.equal(nextStep(true, []), '');
  assert.equal(nextStep(false, mom('push', false)), '');
});
