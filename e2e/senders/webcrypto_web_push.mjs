// npm's @block65/webcrypto-web-push: aes128gcm with `Authorization: vapid`.

import { buildPushPayload } from '@block65/webcrypto-web-push';
import { post } from './job.mjs';

export async function send(job) {
  const message = { data: job.text, options: { ttl: job.ttl, urgency: job.urgency, topic: job.topic } };
  return post(job.subscription.endpoint, await buildPushPayload(message, job.subscription, job.vapid));
}
