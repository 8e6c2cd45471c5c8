// npm's web-push: aes128gcm with `Authorization: vapid`, or aesgcm with `Authorization: WebPush` and Crypto-Key.

import { readFileSync } from 'node:fs';
import https from 'node:https';
import webpush from 'web-push';
import { answer, readJob } from './job.mjs';

const job = readJob();
const agent = new https.Agent({ ca: readFileSync(job.ca), keepAlive: true });
// One after the other, each when the one before it was taken.
for (const text of job.texts ?? [job.text]) {
  await send(text);
}
agent.destroy();

async function send(text) {
  try {
    const sent = await webpush.sendNotification(job.subscription, text, options());
    answer({ status: sent.statusCode, location: sent.headers.location, link: sent.headers.link, body: sent.body });
  } catch (error) {
    if (!error.statusCode) throw error;
    answer({ status: error.statusCode, location: error.headers?.location, body: error.body });
  }
}

function options() {
  return {
    vapidDetails: job.vapid,
    TTL: job.ttl,
    contentEncoding: job.encoding ?? 'aes128gcm',
    urgency: job.urgency,
    topic: job.topic,
    headers: job.headers,
    agent,
  };
}
