// Elements without markup: whatever a stranger named is text, and stays text.

export const at = (id) => document.getElementById(id);

/**
 * An element.
 *
 * @param {string} tag with classes behind dots: "p.note"
 * @param {Record<string, string | (() => void)>} [given] attributes; functions listen to events
 * @param {(Node | string)[]} children strings become text
 */
export function make(tag, given = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(given)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Sets a text where it has changed, so that a selection in it survives a second. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Brings the children of `parent` in line with `items`: rows are kept by key, made and removed as
 * needed, and ordered.
 *
 * @returns nothing; `fill(row, item)` is called for every item
 */
export function reconcile(parent, items, { key, make: makeRow, fill }) {
  const rows = new Map([...parent.children].map((row) => [row.dataset.key, row]));
  let before = null;
  for (const item of items) {
    const name = key(item);
    let row = rows.get(name);
    if (row === undefined) {
      row = makeRow(item);
      row.dataset.key = name;
    }
    rows.delete(name);
    const place = before === null ? parent.firstElementChild : before.nextElementSibling;
    if (place !== row) parent.insertBefore(row, place);
    fill(row, item);
    before = row;
  }
  for (const row of rows.values()) row.remove();
}
