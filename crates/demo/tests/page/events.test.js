// What the page reads from its WebSocket.

import assert from 'node:assert/strict';
import test from 'node:test';

import { hasFailed, isType, readEvent } from '../../web/events.js';

const step = { type: 'step', story: 's', kind: 'refused', outcome: 'failed', what: 'w', detail: '', at: 1 };

test('an event is read with its fields', () => {
  assert.deepEqual(readEvent(JSON.stringify(step)), step);
  assert.deepEqual(readEvent('{"type":"people"}'), { type: 'people' });
});

test('an event that is not in the list, or lacks a field, is an error', () => {
  for (const text of ['{"type":"pople"}', '{"type":"toString"}', '{}', '{"type":"over","call":{}}', 'people']) {
    assert.throws(() => readEvent(text), text);
  }
});

test('the page listens for types that exist', () => {
  assert.ok(isType('connected') && isType('step'));
  assert.ok(!isType('steps') && !isType('constructor'));
});

test('a step fails by its outcome, whatever it says', () => {
  assert.ok(hasFailed(step));
  assert.ok(!hasFailed({ ...step, outcome: 'ok', what: 'you call Refused, who cannot, does not take and is not delivered' }));
});
