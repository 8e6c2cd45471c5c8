// The page's one error.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Problem } from '../../web/problem.js';

test('an answer of the server becomes sentences and a code', () => {
  const problem = Problem.ofAnswer(409, { code: 'busy', message: 'Alice is in another call', hint: 'Try again later.' });
  assert.ok(problem instanceof Error);
  assert.equal(problem.message, 'Alice is in another call.');
  assert.equal(problem.hint, 'Try again later.');
  assert.ok(problem.isUnanswered && !problem.isSignedOut && !problem.isObstacle);
});

test('a name that is taken offers no voice mail, although its status is that of a busy line', () => {
  assert.ok(!Problem.ofAnswer(409, { code: 'name-taken', message: 'x', hint: '' }).isUnanswered);
  assert.ok(Problem.ofAnswer(409, { code: 'away', message: 'x', hint: '' }).isUnanswered);
});

test('every conflict of a call offers a voice mail, whatever its code', () => {
  assert.ok(Problem.ofAnswer(409).isUnanswered);
  assert.ok(Problem.ofAnswer(409, { code: 'call-over', message: 'x' }).isUnanswered);
  assert.ok(!Problem.ofAnswer(410, { code: 'call-over', message: 'x' }).isUnanswered);
  assert.ok(!new Problem('call-over', 'The call is over.').isUnanswered);
});

test('an answer that is not the server’s has its status', () => {
  assert.equal(Problem.ofAnswer(502).message, 'The server answers 502.');
  assert.ok(!Problem.ofAnswer(401).isSignedOut, 'a proxy may answer so');
  assert.ok(Problem.ofAnswer(401, { code: 'not-signed-in', message: 'x' }).isSignedOut);
});
