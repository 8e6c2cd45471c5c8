// Requests to the demo's server. What goes wrong comes with words for people: what it is, and what to do.

export class Refusal extends Error {
  constructor(message, hint, status) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

/** Sends JSON, or a Blob as it is; gives the answer's JSON, or nothing. */
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
    throw new Refusal('The server does not answer.', 'Is `doorbell demo` running? Start it, and try again.', 0);
  }
  if (response.ok) return response.status === 204 ? undefined : response.json();
  const { message, hint } = await response.json().catch(() => ({ message: `The server answers ${response.status}.` }));
  throw new Refusal(capital(message), hint, response.status);
}

export function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? '' : '.');
}
