// Lists that are shown again whenever something changes: what is the same keeps its element, and with it the focus, what
// it plays, and what a screen reader has read already.

/** Shows `items` in `list`. Each has the element that `make` made for its `key`, brought up to date by `update`. */
export function showList(list, items, { key, make, update = () => {} }) {
  const known = new Map([...list.children].map((element) => [element.dataset.key, element]));
  const wanted = items.map((item) => {
    const element = known.get(String(key(item))) ?? make(item);
    element.dataset.key = key(item);
    update(element, item);
    return element;
  });
  [...list.children].filter((element) => !wanted.includes(element)).forEach((element) => element.remove());
  // An element that moves would lose the focus: only those out of place are touched.
  wanted.forEach((element, at) => {
    if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
  });
}

/** An element with a class, a text and children. */
export function create(name, { className = '', text = '', ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(name), { className, ...properties });
  element.append(text, ...children);
  return element;
}
