/** Folds rare settings away in the canvas renderer; the other renderer does so by itself. */

import { app } from "../../../scripts/app.js";
import { FOLDED } from "./lib/node_ids.js";
import { fold, isOpen, label, remember } from "./lib/folding.js";

const BUTTON = "more settings";

app.registerExtension({
  name: "ltx2.advanced",

  nodeCreated(node) {
    if (!FOLDED.includes(node.comfyClass) || window.LiteGraph?.vueNodesMode) return;
    const advanced = (node.widgets ?? []).filter((widget) => widget.options?.advanced);
    if (advanced.length === 0) return;

    // `options.serialize` keeps the button out of the prompt, `serialize` out of the file.
    const button = node.addWidget("button", BUTTON, null, () => toggle(node.id), { serialize: false });
    button.serialize = false;
    show(node, false);
  },

  /** Undo and tab switches rebuild every node: bring back what was open. */
  afterConfigureGraph() {
    for (const node of app.graph.nodes ?? []) {
      if (FOLDED.includes(node.comfyClass)) show(node, isOpen(window.sessionStorage, node.id));
    }
  },
});

/** Finds the live node each time: the one that made the button may be gone. */
function toggle(id) {
  const node = app.graph.getNodeById(id);
  if (!node) return;
  remember(window.sessionStorage, id, !isOpen(window.sessionStorage, id));
  show(node, isOpen(window.sessionStorage, id));
}

function show(node, open) {
  const button = (node.widgets ?? []).find((widget) => widget.name === BUTTON);
  if (!button) return;
  const count = fold(node.widgets, open);
  button.label = label(count, open);
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), height]);
  node.setDirtyCanvas?.(true, true);
}
