// A call: two pages, WebRTC between them. The server rings, says who answered, and passes signals on; sound, picture and
// the data channel go from browser to browser.

import { api } from './api.js';
import { page, signal } from './live.js';
import { paint } from './people.js';
import { step } from './steps.js';

const element = (id) => document.getElementById(id);
const dialog = element('call');
const TITLE = document.title;
let call;
let iceServers = [];
let complain;

/** `shows` tells a person what went wrong. */
export function setUpCalls(settings, shows) {
  iceServers = settings.iceServers;
  complain = shows;
  element('answer').addEventListener('click', () => answer(call.told));
  element('hang-up').addEventListener('click', hangUp);
  // Escape hangs up as the button does.
  dialog.addEventListener('cancel', (event) => {
    event.preventDefault();
    hangUp();
  });
  element('mute').addEventListener('click', () => toggle('mute', 'audio', 'Mute', 'Unmute'));
  element('camera').addEventListener('click', () => toggle('camera', 'video', 'Camera off', 'Camera on'));
  element('talk-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const field = element('talk-text');
    call?.channel?.send(field.value);
    talk('You', field.value);
    field.value = '';
  });
}

/** Calls somebody. */
export async function ring(name, media) {
  if (call) return;
  show({ name, media, state: 'Waiting for your microphone…' });
  try {
    call.stream = await capture(media);
    const told = await api('POST', 'calls', { to: name, media, page });
    if (!call) return;
    call.told = told;
    say(`Ringing ${name}’s devices…`);
    dialog.classList.add('ringing');
  } catch (error) {
    end();
    complain(error, name);
  }
}

/** Somebody calls this person: the page rings too. */
export function isRung(told) {
  if (call) return;
  show({ name: told.from, media: told.media, state: 'is calling', told });
  dialog.classList.add('ringing');
  document.title = `${told.from} is calling – ${TITLE}`;
  element('answer').hidden = false;
  element('hang-up').textContent = 'Decline';
  element('answer').focus();
}

/** Takes the call on this page. */
export async function answer(told) {
  if (!call) show({ name: told.from, media: told.media, state: '', told });
  if (call.answering) return;
  call.answering = true;
  element('answer').hidden = true;
  element('hang-up').textContent = 'Hang up';
  dialog.classList.remove('ringing');
  document.title = TITLE;
  say('Connecting…');
  try {
    call.stream = await capture(told.media);
    // Before the other end hears of it, since its offer may come at once.
    prepare(told.id);
    await api('POST', `calls/${told.id}/answer`, { page });
  } catch (error) {
    end();
    complain(error, told.from);
  }
}

/** The server says how the call stands. */
export async function isTold(told, me) {
  if (told.answeredBy === null) {
    if (told.to === me) isRung(told);
  } else if (told.callerPage === page && call?.told?.id === told.id && !call.peer) {
    dialog.classList.remove('ringing');
    say('Connecting…');
    const peer = prepare(told.id);
    open(peer.createDataChannel('talk'));
    await peer.setLocalDescription();
    signal(told.id, { description: peer.localDescription });
  } else if (call?.told?.id === told.id && told.answeredBy !== page && told.callerPage !== page) {
    end();
    complain({ message: 'You answered on another device.', hint: '' });
  }
}

/** The call is over: `how` says in which way. */
export function isOver(told, how, me) {
  if (call?.told?.id !== told.id) return;
  end();
  const other = told.from === me ? told.to : told.from;
  const words = {
    declined: told.from === me ? `${other} does not take the call.` : 'You declined.',
    unanswered: told.from === me ? `${other} does not answer.` : `You missed a call from ${other}.`,
    withdrawn: told.from === me ? 'You hung up.' : `You missed a call from ${other}.`,
    'hung-up': `The call with ${other} is over.`,
  };
  const offers = told.from === me && (how === 'declined' || how === 'unanswered');
  complain({ message: words[how], hint: '', voice: offers }, other);
}

/** A signal from the other end. */
export async function hearSignal(id, { description, candidate }) {
  const peer = call?.peer;
  if (!peer || call.told.id !== id) return;
  if (description) {
    await peer.setRemoteDescription(description);
    if (description.type === 'offer') {
      await peer.setLocalDescription();
      signal(id, { description: peer.localDescription });
    }
  } else {
    await peer.addIceCandidate(candidate);
  }
}

function prepare(id) {
  const peer = new RTCPeerConnection({ iceServers });
  call.peer = peer;
  call.began = Date.now();
  call.stream.getTracks().forEach((track) => peer.addTrack(track, call.stream));
  peer.addEventListener('icecandidate', ({ candidate }) => signal(id, { candidate }));
  peer.addEventListener('datachannel', ({ channel }) => open(channel));
  peer.addEventListener('track', ({ streams }) => {
    element('remote').srcObject = streams[0];
  });
  peer.addEventListener('connectionstatechange', () => {
    if (peer.connectionState === 'connected') connected(id);
    if (peer.connectionState === 'failed') {
      hangUp();
      complain({
        message: 'The two browsers cannot reach each other.',
        hint: 'They are in different networks: start the demo with --stun or --turn.',
      });
    }
  });
  return peer;
}

function connected(id) {
  if (call.connected) return;
  call.connected = true;
  dialog.classList.remove('ringing');
  dialog.classList.add('connected');
  say('Connected');
  ['mute', 'camera'].forEach((button) => {
    element(button).hidden = call.stream.getTracks().every(({ kind }) => kind !== (button === 'mute' ? 'audio' : 'video'));
  });
  const took = Date.now() - call.began;
  step(id, 'the two browsers are connected', `WebRTC, ${took} ms after the answer`);
  call.watch = setInterval(facts, 1000);
}

/** What really arrives, as the browser counts it. */
async function facts() {
  const parts = [];
  const watched = call;
  for (const report of (await watched.peer.getStats()).values()) {
    if (report.type !== 'inbound-rtp') continue;
    if (report.kind === 'video' && report.framesDecoded) {
      parts.push(`picture: ${report.framesDecoded - (watched.frames ?? 0)} frames a second`);
      watched.frames = report.framesDecoded;
    }
    if (report.kind === 'audio' && report.packetsReceived) parts.push('sound arrives');
  }
  if (call === watched) element('call-facts').textContent = parts.join(' · ');
}

function open(channel) {
  call.channel = channel;
  channel.addEventListener('open', () => { element('talk-form').hidden = false; });
  channel.addEventListener('message', ({ data }) => talk(call.name, data));
}

function talk(who, text) {
  const item = document.createElement('li');
  item.append(Object.assign(document.createElement('strong'), { textContent: `${who}: ` }), text);
  element('talk').append(item);
  item.scrollIntoView({ block: 'nearest' });
}

/** The microphone, and the camera for a video call; a call without a camera is better than none. */
async function capture(media) {
  const devices = navigator.mediaDevices;
  let stream;
  try {
    stream = await devices.getUserMedia({ audio: true, video: media === 'video' }).catch((error) => {
      if (media !== 'video' || error.name === 'NotAllowedError') throw error;
      return devices.getUserMedia({ audio: true });
    });
  } catch (error) {
    throw error.name === 'NotAllowedError'
      ? { message: 'The microphone is blocked.', hint: 'Allow it beside the address, and try again.' }
      : { message: 'There is no microphone.', hint: 'Connect one, or write a message.' };
  }
  if (!call) {
    stream.getTracks().forEach((track) => track.stop());
    throw { message: 'The call is over.', hint: '' };
  }
  if (stream.getVideoTracks().length) {
    element('local').srcObject = stream;
    element('local').classList.add('on');
  }
  return stream;
}

function hangUp() {
  const told = call?.told;
  end();
  // It may be over by itself meanwhile.
  if (told) api('POST', `calls/${told.id}/end`).catch(() => {});
}

function end() {
  clearInterval(call?.watch);
  call?.peer?.close();
  call?.stream?.getTracks().forEach((track) => track.stop());
  call = undefined;
  element('remote').srcObject = null;
  element('local').srcObject = null;
  element('local').classList.remove('on');
  document.title = TITLE;
  dialog.close();
}

function show({ name, media, state, told }) {
  call = { name, told };
  dialog.className = `call ${media}`;
  element('call-title').textContent = name;
  paint(element('call-avatar'), name);
  say(state);
  element('call-facts').textContent = '';
  element('talk').replaceChildren();
  element('mute').textContent = 'Mute';
  element('camera').textContent = 'Camera off';
  element('hang-up').textContent = 'Hang up';
  for (const id of ['answer', 'mute', 'camera', 'talk-form']) element(id).hidden = true;
  dialog.showModal();
}

function say(words) {
  element('call-state').textContent = words;
}

function toggle(id, kind, off, on) {
  const tracks = call.stream.getTracks().filter((track) => track.kind === kind);
  tracks.forEach((track) => { track.enabled = !track.enabled; });
  const isOff = tracks.every(({ enabled }) => !enabled);
  element(id).textContent = isOff ? on : off;
  element(id).ariaPressed = String(isOff);
}
