// npm's @pushforge/builder: aesgcm with `Authorization: vapid`; its payloads are JSON.

import { buildPushHTTPRequest } from '@pushforge/builder';
import { jwk, post } from './job.mjs';

export async function send(job) {
  const request = await buildPushHTTPRequest({
    privateJWK: jwk(job.vapid),
    subscription: job.subscription,
    message: {
      payload: job.text,
      adminContact: job.vapid.subject,
      options: { ttl: job.ttl, urgency: job.urgency, topic: job.topic },
    },
  });
  return post(request.endpoint, request);
}
