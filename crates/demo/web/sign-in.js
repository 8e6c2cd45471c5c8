// The form by which a person comes in. A browser that the demo has opened brings a name, and an invitation to be that person.

import { api } from './api.js';
import { claimWindow } from './identity.js';

const NAME_CHARACTERS_MAX = 24;
const element = (id) => document.getElementById(id);

/** `arrival` is what the address brought, `label` what this browser is called; `enter` is called after a person has come in. */
export function setUpSignIn(arrival, label, enter) {
  const form = element('sign-in-form');
  const { name, passphrase } = form.elements;
  if (arrival.name) {
    name.value = arrival.name;
    claimWindow(arrival.name);
  }
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    element('sign-in-problem').hidden = true;
    try {
      await signIn(arrival, { name: name.value, passphrase: passphrase.value || undefined, label });
    } catch (error) {
      explain(error, name.value);
      return;
    }
    enter();
  });
  element('other-name').addEventListener('click', () => {
    name.value = anotherName(name.value);
    form.requestSubmit();
  });
}

/** What a person can be called whose name is taken. */
export function anotherName(name) {
  const [, words, number] = name.trim().match(/^(.*?)(?: (\d{1,3}))?$/);
  const next = ` ${Number(number ?? 1) + 1}`;
  return words.slice(0, NAME_CHARACTERS_MAX - next.length).trimEnd() + next;
}

async function signIn({ name: invited, invitation, guest }, { name, passphrase, label }) {
  if (invitation && name === invited && !passphrase) {
    try {
      await api('POST', 'sign-in', { invitation, label });
      return;
    } catch (error) {
      // It is too old, or was used before: then the name may still be free.
      if (error.status !== 404) throw error;
    }
  }
  await api('POST', 'sign-in', { name, passphrase, guest: guest ?? undefined, label });
}

function explain({ message, hint, isNameTaken }, name) {
  element('sign-in-words').textContent = `${message} ${hint}`;
  element('other-name').hidden = !isNameTaken;
  element('other-name').textContent = `Sign in as ${anotherName(name)}`;
  element('sign-in-problem').hidden = false;
}
