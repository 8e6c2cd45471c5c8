// Firefox never answers what a page asks of its push client before that has started: in a page from the command line, and in
// pages that it restores. So the page asks again.

import { Problem } from './problem.js';

/** How long each attempt may take, in ms. An answer to an earlier one that comes after all counts as well. */
export const PATIENCE = [4_000, 8_000, 16_000, 32_000];

/** The first answer to any attempt. `attempt` returns a promise. Throws a `Problem` if there is none in time. */
export function patiently(attempt) {
  return new Promise((resolve, reject) => {
    let next;
    const ask = ([ms, ...rest]) => {
      if (ms === undefined) return reject(noAnswer());
      next = setTimeout(() => ask(rest), ms);
      attempt().finally(() => clearTimeout(next)).then(resolve, reject);
    };
    ask(PATIENCE);
  });
}

export function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}

function noAnswer() {
  return new Problem(
    'no-push',
    'The browser does not answer',
    'Its push client has not started. Press “Try again” in a minute. If that does not help, close the browser, start it without a page, and then open this one.',
  );
}
