// What every JavaScript sender shares, in Node, Deno, Bun and a page.
//
// Job:    { subscription, text, vapid: { publicKey, privateKey, subject }, ttl, encoding?, urgency?, topic?, headers? }
//         It may have texts, a list, instead of text: each is answered on a line of its own.
//         subscription is the W3C JSON, the keys are base64url. The runtime's environment names the CA to trust.
// Answer: { status, location, link, body }

/** Sends the job's texts, one after the other, each when the one before it was taken; passes on the answers. */
export async function does(job, sender, answer) {
  const { send } = await import(`./${sender}.mjs`);
  for (const text of job.texts ?? [job.text]) {
    const { status, headers, body } = await send({ ...job, text });
    answer({ status, location: headers.get('location'), link: headers.get('link'), body });
  }
}

/** Posts a request that a library has built. */
export async function post(endpoint, request) {
  return read(await fetch(endpoint, { ...request, method: 'POST' }));
}

/** What `fetch` got. */
export async function read(response) {
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** The answer that a library with the manners of npm's web-push returns or throws. */
export async function taken(sending) {
  const { statusCode, headers, body } = await sending.catch((error) => {
    if (!error.statusCode) throw error;
    return error;
  });
  return { status: statusCode, headers: new Headers(headers), body };
}

/** The VAPID pair as a JSON Web Key. */
export function jwk({ publicKey, privateKey }) {
  const coordinates = bytes(publicKey).slice(1);
  const [x, y] = [coordinates.slice(0, 32), coordinates.slice(32)].map(base64url);
  return { kty: 'EC', crv: 'P-256', x, y, d: privateKey };
}

/** The private key of the VAPID pair in PKCS #8, as base64url. */
export async function pkcs8(vapid) {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const key = await crypto.subtle.importKey('jwk', jwk(vapid), algorithm, true, ['sign']);
  return base64url(new Uint8Array(await crypto.subtle.exportKey('pkcs8', key)));
}

function bytes(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
