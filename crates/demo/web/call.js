// A call: two pages, WebRTC between them. The server rings, reports who answered, and passes signals on; sound, picture and
// the data channel go from browser to browser.

import { api } from './api.js';
import { paint, titleWindow } from './identity.js';
import { page, signal } from './live.js';
import { capture, explain, kindsOf } from './media.js';
import { Problem } from './problem.js';
import { step } from './steps.js';

const element = (id) => document.getElementById(id);
const dialog = element('call');
const ASKING = 'Allow the microphone, if the browser asks for it.';
let call;
let iceServers = [];
let complain;
let notice;

/** `complain` shows a `Problem`, `notice` words and, with a name, the offer to leave a voice mail. */
export function setUpCalls(settings, shows) {
  iceServers = settings.iceServers;
  ({ complain, notice } = shows);
  element('answer').addEventListener('click', () => answer(call.known));
  element('hang-up').addEventListener('click', hangUp);
  // Escape hangs up as the button does.
  dialog.addEventListener('cancel', (event) => {
    event.preventDefault();
    hangUp();
  });
  element('hear').addEventListener('click', play);
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

/** Calls a person. */
export async function ring(name, media) {
  if (call) return;
  show({ name, media, state: ASKING });
  const mine = call;
  try {
    await takeDevices(mine, media);
    const known = await api('POST', 'calls', { to: name, media, page });
    if (call !== mine) {
      // The user hung up before the server answered: it must not go on ringing.
      endAtServer(known);
      return;
    }
    mine.known = known;
    showState(`Ringing ${name}’s devices: answer in the notification there.`);
    dialog.classList.add('ringing');
  } catch (error) {
    if (call !== mine) return;
    end();
    complain(error, name);
  }
}

/** The call that rings here, or is being connected. */
export function pending() {
  return call?.connected ? undefined : call?.known;
}

/** This person is called: the page rings too. */
export function isRung(known) {
  if (call) return;
  show({ name: known.from, media: known.media, state: 'is calling', known });
  dialog.classList.add('ringing');
  titleWindow(`${known.from} is calling`);
  element('answer').hidden = false;
  element('hang-up').textContent = 'Decline';
  element('answer').focus();
}

/** Takes the call on this page. */
export async function answer(known) {
  if (!call) show({ name: known.from, media: known.media, state: '', known });
  if (call.answering || call.known?.id !== known.id) return;
  const mine = call;
  mine.answering = true;
  element('answer').hidden = true;
  element('hang-up').textContent = 'Hang up';
  dialog.classList.remove('ringing');
  titleWindow();
  showState(ASKING);
  try {
    await takeDevices(mine, known.media);
    showState('Connecting…');
    // Before the other end is notified, since its offer may come at once.
    prepare(known.id);
    await api('POST', `calls/${known.id}/answer`, { page });
  } catch (error) {
    // It ended meanwhile, and the user knows.
    if (call !== mine) return;
    end();
    complain(error, known.from);
  }
}

/** The server reports how the call stands. */
export async function update(known, me) {
  if (known.answeredBy === null) {
    if (known.to === me) isRung(known);
  } else if (known.callerPage === page && call?.known?.id === known.id && !call.peer) {
    dialog.classList.remove('ringing');
    showState('Connecting…');
    const peer = prepare(known.id);
    // This end receives also what it cannot send.
    const sent = call.own.stream.getTracks().map(({ kind }) => kind);
    const missing = kindsOf(known.media).filter((kind) => !sent.includes(kind));
    missing.forEach((kind) => peer.addTransceiver(kind, { direction: 'recvonly' }));
    open(peer.createDataChannel('talk'));
    await peer.setLocalDescription();
    signal(known.id, { description: peer.localDescription });
  } else if (call?.known?.id === known.id && known.answeredBy !== page && known.callerPage !== page) {
    end();
    notice('You answered on another device.');
  }
}

/** The call is over, in the way that `how` names. */
export function isOver(known, how, me) {
  if (call?.known?.id !== known.id) return;
  end();
  const other = known.from === me ? known.to : known.from;
  const words = {
    declined: known.from === me ? `${other} does not take the call.` : 'You declined.',
    unanswered: known.from === me ? `${other} does not answer.` : `You missed a call from ${other}.`,
    withdrawn: known.from === me ? 'You hung up.' : `You missed a call from ${other}.`,
    'hung-up': `The call with ${other} is over.`,
  };
  const offers = known.from === me && (how === 'declined' || how === 'unanswered');
  notice(words[how], offers ? other : undefined);
}

/** A signal from the other end. */
export async function receiveSignal(id, { description, candidate }) {
  const peer = call?.peer;
  if (!peer || call.known.id !== id) return;
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
  call.own.stream.getTracks().forEach((track) => peer.addTrack(track, call.own.stream));
  peer.addEventListener('icecandidate', ({ candidate }) => signal(id, { candidate }));
  peer.addEventListener('datachannel', ({ channel }) => open(channel));
  peer.addEventListener('track', ({ streams }) => {
    element('remote').srcObject = streams[0];
    play();
  });
  peer.addEventListener('connectionstatechange', () => {
    if (peer.connectionState === 'connected') connected(id);
    if (peer.connectionState === 'failed') {
      hangUp();
      const hint = 'They are in different networks: start the demo with --stun or --turn.';
      complain(new Problem('no-path', 'The two browsers cannot reach each other.', hint));
    }
  });
  return peer;
}

function connected(id) {
  if (call.connected) return;
  call.connected = true;
  dialog.classList.remove('ringing');
  dialog.classList.add('connected');
  showState('Connected');
  ['mute', 'camera'].forEach((button) => {
    element(button).hidden = call.own.stream.getTracks().every(({ kind }) => kind !== (button === 'mute' ? 'audio' : 'video'));
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

/** The microphone, and the camera for a video call, or what stands in for them. */
async function takeDevices(mine, media) {
  const own = await capture(media);
  if (call !== mine) {
    own.stop();
    throw new Problem('call-over', 'The call is over.');
  }
  mine.own = own;
  element('call-lacks').textContent = explain(own.lacks, mine.name);
  if (own.stream.getVideoTracks().length) {
    element('local').srcObject = own.stream;
    element('local').classList.add('on');
  }
}

/** Plays the other end. On a page that a notification has opened a browser may want a click before there is sound. */
function play() {
  const remote = element('remote');
  const attempt = (muted) => {
    remote.muted = muted;
    element('hear').hidden = !muted;
    return remote.play();
  };
  // Another track interrupts it, and plays it anew.
  attempt(false).catch(({ name }) => (name === 'NotAllowedError' ? attempt(true) : undefined)).catch(() => {});
}

function hangUp() {
  const known = call?.known;
  end();
  if (known) endAtServer(known);
}

function endAtServer(known) {
  // It may be over by itself meanwhile.
  api('POST', `calls/${known.id}/end`).catch(() => {});
}

function end() {
  clearInterval(call?.watch);
  call?.peer?.close();
  call?.own?.stop();
  call = undefined;
  element('remote').srcObject = null;
  element('local').srcObject = null;
  element('local').classList.remove('on');
  titleWindow();
  dialog.close();
}

function show({ name, media, state, known }) {
  call = { name, known };
  dialog.className = `call ${media}`;
  element('call-title').textContent = name;
  paint(element('call-avatar'), name);
  showState(state);
  element('call-facts').textContent = '';
  element('call-lacks').textContent = '';
  element('talk').replaceChildren();
  element('mute').textContent = 'Mute';
  element('camera').textContent = 'Camera off';
  element('hang-up').textContent = 'Hang up';
  for (const id of ['answer', 'hear', 'mute', 'camera', 'talk-form']) element(id).hidden = true;
  dialog.showModal();
}

function showState(words) {
  element('call-state').textContent = words;
}

function toggle(id, kind, off, on) {
  const tracks = call.own.stream.getTracks().filter((track) => track.kind === kind);
  tracks.forEach((track) => { track.enabled = !track.enabled; });
  const isOff = tracks.every(({ enabled }) => !enabled);
  element(id).textContent = isOff ? on : off;
  element(id).ariaPressed = String(isOff);
}
