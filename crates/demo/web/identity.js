// The letters and the colour of a person's name. The window of a person has both: two windows of one browser look alike.

const SITE = document.title;

/** Whose window this is, as far as that is known. */
export let owner = '';

/** The first letters of a name, in a colour of its own. */
export function paint(avatar, name) {
  avatar.textContent = letters(name);
  avatar.style.setProperty('--hue', hue(name));
}

/** This window is the person's: its title, its icon and its upper edge. */
export function claimWindow(name) {
  owner = name;
  titleWindow();
  document.documentElement.style.setProperty('--owner', hue(name));
  document.documentElement.classList.add('owned');
  const icon = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
  paintPicture(icon, name);
  Object.assign(document.querySelector('link[rel=icon]'), { type: 'image/png', href: icon.toDataURL() });
}

/** The window's title: what happens here, if anything, and whose it is. */
export function titleWindow(words) {
  document.title = [words, owner, SITE].filter(Boolean).join(' – ');
}

/** Fills a canvas with the colour and the letters of a name, and a line below them. */
export function paintPicture(canvas, name, line = '') {
  const { width, height } = canvas;
  const context = canvas.getContext('2d');
  context.fillStyle = `hsl(${hue(name)} 60% 32%)`;
  context.fillRect(0, 0, width, height);
  context.fillStyle = '#fff';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.font = `bold ${height * (line ? 0.3 : 0.6)}px sans-serif`;
  context.fillText(letters(name), width / 2, height * (line ? 0.3 : 0.54));
  context.font = `${height * 0.07}px sans-serif`;
  if (line) context.fillText(`Test picture of ${name} · ${line}`, width / 2, height * 0.54);
}

function letters(name) {
  return name.split(' ').map((word) => word[0]).slice(0, 2).join('').toUpperCase();
}

function hue(name) {
  return [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}
