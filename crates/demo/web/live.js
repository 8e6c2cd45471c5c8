// The page's WebSocket: what happens arrives here while the page is open.

import { isType, readEvent } from './events.js';

/** This page's own name, by which a call finds its two ends. It stays when the connection is made anew. */
export const page = name();

const handlers = new Map();
let socket;
let wanted = false;
let pause = 500;
const PAUSE_MAX = 10_000;

/** Calls `handler` for each event of a type; `connected` and `lost` are the page's own. */
export function on(type, handler) {
  if (!isType(type)) throw new TypeError(`no event has the type ${type}`);
  handlers.set(type, handler);
}

/** Connects, and again whenever the connection is lost. Resolves when it is there for the first time. */
export function connect() {
  wanted = true;
  return new Promise((resolve) => {
    const open = () => {
      if (!wanted) return;
      socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/live?page=${page}`);
      socket.addEventListener('open', () => {
        pause = 500;
        emit({ type: 'connected' });
        resolve();
      });
      socket.addEventListener('message', ({ data }) => emit(readEvent(data)));
      socket.addEventListener('close', () => {
        emit({ type: 'lost' });
        setTimeout(open, pause);
        pause = Math.min(pause * 2, PAUSE_MAX);
      });
    };
    open();
  });
}

export function disconnect() {
  wanted = false;
  socket?.close();
}

/** Passes a signal of WebRTC to the other end of the call. */
export function signal(call, content) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ call, signal: content }));
}

function emit(event) {
  handlers.get(event.type)?.(event);
}

function name() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
