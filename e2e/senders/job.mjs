// What every Node sender shares: a job comes in on stdin, an answer goes out on stdout.
//
// Job:    { subscription, text, vapid: { publicKey, privateKey, subject }, ca, ttl, encoding?, urgency?, topic?, headers? }
//         web_push.mjs also takes texts, a list, and answers each on a line of its own.
//         subscription is the W3C JSON, the keys are base64url, ca is a PEM file.
// Answer: { status, location, link, body }

import { readFileSync } from 'node:fs';
import https from 'node:https';
import { webcrypto } from 'node:crypto';

// Node 18, Debian's, has Web Crypto but does not make it global.
globalThis.crypto ??= webcrypto;

export function readJob() {
  return JSON.parse(readFileSync(0, 'utf8'));
}

export function answer({ status, location, link, body }) {
  const words = { status, location: location ?? null, link: link ?? null, body: body ?? '' };
  process.stdout.write(JSON.stringify(words) + '\n');
}

/** The VAPID pair as a JSON Web Key. */
export function jwk({ publicKey, privateKey }) {
  const point = Buffer.from(publicKey, 'base64url');
  return {
    kty: 'EC',
    crv: 'P-256',
    x: point.subarray(1, 33).toString('base64url'),
    y: point.subarray(33, 65).toString('base64url'),
    d: privateKey,
  };
}

/** Posts a request that a library has built, trusting the job's CA. */
export function post(endpoint, headers, body, caFile) {
  return new Promise((resolve, reject) => {
    const request = https.request(endpoint, { method: 'POST', headers, ca: readFileSync(caFile) }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () =>
        resolve({
          status: response.statusCode,
          location: response.headers.location,
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      );
    });
    request.on('error', reject);
    request.end(Buffer.from(body));
  });
}
