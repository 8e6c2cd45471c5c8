// Invitations: a link, and the same as a QR code for the camera of a phone. One lets another device in as the same person,
// the other brings another person here.

import { api } from './api.js';

const element = (id) => document.getElementById(id);
const WORDS = {
  device: {
    title: 'Add a device',
    words: 'Scan this with your other device, or open the link there, within a quarter of an hour. The first device that opens it is you, so keep it to yourself.',
  },
  person: {
    title: 'Invite a person',
    words: 'Let them scan this, or send them the link. They sign in with a name of their own.',
  },
};

/** `complain` shows a `Problem`. */
export function setUpInvitations(complain) {
  document.querySelectorAll('[data-invite]').forEach((button) => {
    button.addEventListener('click', () => invite(button.dataset.invite).catch(complain));
  });
  element('invite-copy').addEventListener('click', copy);
  element('invite-close').addEventListener('click', () => element('invite').close());
}

async function invite(guest) {
  const { link, code, hereOnly } = await api('POST', 'invitation', { for: guest });
  element('invite-title').textContent = WORDS[guest].title;
  element('invite-words').textContent = WORDS[guest].words;
  element('invite-code').hidden = !code;
  element('invite-code').src = `data:image/svg+xml,${encodeURIComponent(code)}`;
  element('invite-here').hidden = !hereOnly;
  element('invite-link').value = link;
  element('invite-copied').textContent = '';
  element('invite').showModal();
  element('invite-link').select();
}

async function copy() {
  const field = element('invite-link');
  field.select();
  const copied = await navigator.clipboard.writeText(field.value).then(() => true, () => false);
  element('invite-copied').textContent = copied ? 'Copied.' : 'This browser does not let the page copy: press Ctrl and C.';
}
