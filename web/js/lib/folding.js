/** Which settings are folded away. Pure: importing this file does nothing else. */

/** A widget gets four pixels more than it asks for. */
const NO_HEIGHT = -4;

/** Hides the widgets called one of `names` unless `open`; returns how many there are. */
export function fold(widgets, names, open) {
  const rare = widgets.filter((widget) => names.includes(widget.name));
  for (const widget of rare) {
    widget.hidden = !open;
    widget.options ??= {};
    widget.options.hidden = !open; // one renderer reads the first, the other the second
    if (open) delete widget.computeSize;
    else widget.computeSize = () => [0, NO_HEIGHT]; // older frontends leave room for hidden widgets
  }
  return rare.length;
}

/** The height of a node that needed `before` and needs `needed` now: its spare room stays. */
export function heightAfter(height, before, needed) {
  return needed + Math.max(0, height - before);
}

/** What the button says. */
export function label(count, open) {
  return open ? "fewer settings" : `${count} more settings`;
}

/** Whether the settings of node `id` were left open in this browser tab. */
export function isOpen(storage, id) {
  return storage.getItem(key(id)) === "open";
}

/** Keeps that for this browser tab. */
export function remember(storage, id, open) {
  if (open) storage.setItem(key(id), "open");
  else storage.removeItem(key(id));
}

function key(id) {
  return `ltx2.advanced.${id}`;
}
