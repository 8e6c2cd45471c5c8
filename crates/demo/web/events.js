// What the server sends on the page's WebSocket: these types, each with these fields (`src/events.rs` has the same list).

const FIELDS = {
  people: [],
  chat: [],
  step: ['at', 'detail', 'kind', 'outcome', 'story', 'what'],
  call: ['call'],
  over: ['call', 'how'],
  signal: ['call', 'signal'],
  unsubscribed: ['device'],
  malformed: [],
};

/** What the page itself emits: its connection is there, or lost. */
const OWN = ['connected', 'lost'];

/** Whether an event can have this type. */
export function isType(type) {
  return OWN.includes(type) || Object.hasOwn(FIELDS, type);
}

/** Reads an event. An event that is not in the list comes from a newer server; the page does not guess what it means. */
export function readEvent(text) {
  const event = JSON.parse(text);
  if (!Object.hasOwn(FIELDS, event.type)) throw new TypeError(`unknown event: ${event.type}`);
  const missing = FIELDS[event.type].find((field) => event[field] === undefined);
  if (missing) throw new TypeError(`event ${event.type} without ${missing}`);
  return event;
}

/** Whether a step failed: the server reports its outcome. */
export function hasFailed({ outcome }) {
  return outcome === 'failed';
}
