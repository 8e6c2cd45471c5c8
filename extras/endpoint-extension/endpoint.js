// Runs in each page before its own scripts: a push subscription's endpoint names our service, not Google's host.
(() => {
  // The service's origin. `doorbell chromium --rewrite-endpoints` puts its own here; by hand, put yours.
  const SERVICE = 'https://push.example.org';

  // What Chromium has compiled in, by channel and age. Other endpoints stay as they are.
  const COMPILED_IN = /^https:\/\/(jmt17\.google\.com|fcm\.googleapis\.com)(?=\/(fcm\/send|wp|preprod\/wp)\/)/;
  const placed = (endpoint) => endpoint.replace(COMPILED_IN, SERVICE);

  // There is none where a page is no secure context.
  const prototype = globalThis.PushSubscription?.prototype;
  if (!prototype) return;

  const endpoint = Object.getOwnPropertyDescriptor(prototype, 'endpoint');
  Object.defineProperty(prototype, 'endpoint', {
    ...endpoint,
    get() {
      return placed(endpoint.get.call(this));
    },
  });

  const toJSON = Object.getOwnPropertyDescriptor(prototype, 'toJSON');
  Object.defineProperty(prototype, 'toJSON', {
    ...toJSON,
    value() {
      const json = toJSON.value.call(this);
      return { ...json, endpoint: placed(json.endpoint) };
    },
  });
})();
