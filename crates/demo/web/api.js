// Requests to the demo's server. What goes wrong is a `Problem`.

import { Problem } from './problem.js';

/** Sends JSON, or a Blob as it is; returns the answer's JSON, or nothing. */
export async function api(method, path, body) {
  const init = { method };
  if (body instanceof Blob) {
    init.body = body;
    init.headers = { 'Content-Type': body.type };
  } else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'Content-Type': 'application/json' };
  }
  let response;
  try {
    response = await fetch(`/api/${path}`, init);
  } catch {
    throw new Problem('unreachable', 'The server does not answer.', 'Is `doorbell demo` running? Start it, and try again.');
  }
  if (response.ok) return response.status === 204 ? undefined : response.json();
  throw Problem.ofAnswer(response.status, await response.json().catch(() => undefined));
}
