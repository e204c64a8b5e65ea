/** Which settings are folded away. Pure: importing this file does nothing else. */

/** Hides the advanced ones of `widgets` unless `open`; returns how many there are. */
export function fold(widgets, open) {
  const advanced = widgets.filter((widget) => widget.options?.advanced);
  for (const widget of advanced) {
    widget.hidden = !open;
    widget.options.hidden = !open; // one renderer reads the first, the other the second
  }
  return advanced.length;
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
