// Asking a push client that may not have started yet.

import assert from 'node:assert/strict';
import test, { mock } from 'node:test';

import { PATIENCE, patiently } from '../../web/patience.js';

const silent = () => new Promise(() => {});
/** Lets the promises run that are settled already. */
const turn = () => new Promise((resolve) => { setImmediate(resolve); });

test.beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
test.afterEach(() => mock.timers.reset());

test('an attempt that is never answered is followed by another one', async () => {
  let attempts = 0;
  const answer = patiently(() => (++attempts < 3 ? silent() : Promise.resolve('subscription')));
  mock.timers.tick(PATIENCE[0] - 1);
  assert.equal(attempts, 1);
  mock.timers.tick(1);
  assert.equal(attempts, 2);
  mock.timers.tick(PATIENCE[1]);
  assert.equal(await answer, 'subscription');
});

test('after an answer, also a refusal, it asks no more', async () => {
  let attempts = 0;
  const answer = patiently(() => { attempts++; return Promise.reject(new Error('refused')); });
  await assert.rejects(answer, /refused/);
  mock.timers.tick(100_000);
  assert.equal(attempts, 1);
});

test('an answer to an earlier attempt counts although it comes late', async () => {
  const answers = [];
  const answer = patiently(() => new Promise((resolve) => { answers.push(resolve); }));
  mock.timers.tick(PATIENCE[0]);
  answers[0]('late');
  assert.equal(await answer, 'late');
  await turn();
  mock.timers.tick(100_000);
  assert.equal(answers.length, 2);
});

test('the pauses grow, the attempts end, and the user learns what to do', async () => {
  const at = [];
  let now = 0;
  const answer = patiently(() => { at.push(now); return silent(); });
  for (; now < 60_000; now += 1_000) mock.timers.tick(now ? 1_000 : 0);
  mock.timers.tick(1_000);
  await assert.rejects(answer, (problem) => problem.isObstacle && /Try again/.test(problem.hint));
  const gaps = at.slice(1).map((time, i) => time - at[i]);
  assert.equal(at.length, PATIENCE.length);
  assert.ok(gaps.every((gap, i) => i === 0 || gap > gaps[i - 1]), `${gaps}`);
});
